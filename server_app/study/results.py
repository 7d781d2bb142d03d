"""Read the scores and cost of each method in a run, and write them as a row of cells.csv."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.missingness import Missingness
from condi_core.run_files import (
    read_config,
    read_history,
    read_result,
    read_roster,
    read_versions,
    sums_path,
    weights_paths,
)
from data_partitions.manifest import Split
from data_partitions.storage import atomic_write
from data_partitions.table import CsvWriter
from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_estimates import estimates_by_row, task_estimates
from server_app.artifacts.run_record import ReportError, read_run
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.study.design import Scenario
from server_app.study.variants import method_of_variant

AS_IN_TRAINING = "as in training"
# Phases that train the imputer of a method, without the suffix for who trains it.
IMPUTER_PHASES = {"none": (), "relation": ("relation",), "diffusion": ("relation", "imputer")}

CsvValue = str | int | float | None


class RunUnreadableError(Exception):
    """A run folder is missing files of a finished run, or they are damaged."""


@dataclass(frozen=True)
class StudyCell:
    """The result of one method in one run.

    Attributes
    ----------
    data, partition : labels of the data set and of how its patients are assigned to sites
    missingness : label of the missingness of training windows
    test_missingness : how that of test windows differs, as it is written in the study; "as in training"
        otherwise
    missingness_in_test : label of the whole missingness of test windows
    missingness_settings : settings of the training missingness, in flat form
    missing_fraction, missing_fraction_in_test : expected fraction of measured samples that are hidden
    validation_loss : the lowest mean over rounds, by which the run selected its weights; NaN without windows
    metrics : metrics of the task on test windows
    imputation : missingness pattern → imputer → metric on the samples it hides; empty for methods without
        an imputer of their own
    seconds, bytes_down, bytes_up : cost of the phases that the method needs
    parameters : number of weights that the method needs; of one site where each site has its own
    code : fingerprint of the code that computed it
    run : name of the run folder
    replicates : metrics of the task in replicates of the test patients `(replicate,)`, by metric
    imputation_replicates : those of imputers `(replicate,)`, by missingness pattern, imputer and metric
    """

    data: str
    partition: str
    num_sites: int
    missingness: str
    test_missingness: str
    missingness_in_test: str
    missingness_settings: Mapping[str, CsvValue]
    missing_fraction: float
    missing_fraction_in_test: float
    seed: int
    method: str
    learning_rate: float
    local_steps: int
    failures: int
    validation_loss: float
    metrics: Mapping[str, float | None]
    imputation: Mapping[str, Mapping[str, Mapping[str, float]]]
    seconds: float
    bytes_down: int
    bytes_up: int
    parameters: int
    code: str
    run: str
    replicates: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    imputation_replicates: Mapping[tuple[str, str, str], np.ndarray] = field(
        default_factory=dict, compare=False
    )

    def score(self, metric: str) -> Estimate:
        """Return a metric of the task, NaN where the cell has none, with its replicates."""
        value = self.metrics.get(metric)
        return Estimate(math.nan if value is None else value, self.replicates.get(metric))

    def imputation_score(self, pattern: str, imputer: str, metric: str) -> Estimate:
        """Return a metric of an imputer, with its replicates."""
        replicates = self.imputation_replicates.get((pattern, imputer, metric))
        return Estimate(self.imputation[pattern][imputer][metric], replicates)

    @property
    def scenario(self) -> tuple[str, str, str, str]:
        """The factors that cells have in common if they are compared with each other."""
        return self.data, self.partition, self.missingness, self.test_missingness

    def row(self) -> dict[str, CsvValue]:
        """Return the cell as a row of cells.csv."""
        return {
            "data": self.data,
            "partition": self.partition,
            "sites": self.num_sites,
            "missingness": self.missingness,
            "test-missingness": self.test_missingness,
            "missingness-in-test": self.missingness_in_test,
            **self.missingness_settings,
            "missing-fraction": self.missing_fraction,
            "missing-fraction-in-test": self.missing_fraction_in_test,
            "seed": self.seed,
            "method": self.method,
            "learning-rate": self.learning_rate,
            "local-steps": self.local_steps,
            "failures": self.failures,
            "validation-loss": self.validation_loss,
            **self.metrics,
            **{
                f"imputation: {pattern}: {imputer}: {metric}": value
                for pattern, imputers in self.imputation.items()
                for imputer, metrics in imputers.items()
                for metric, value in metrics.items()
            },
            "seconds": self.seconds,
            "bytes-down": self.bytes_down,
            "bytes-up": self.bytes_up,
            "parameters": self.parameters,
            "code": self.code,
            "run": self.run,
        }


def validation_loss(run: Path, method: str) -> float:
    """Return the lowest validation loss over the rounds of a method, by which its weights were selected.

    It never depends on test windows. NaN when there were no validation windows.
    """
    phase = f"task-{method_of_variant(method)}"
    lines = (line for line in read_history(run) if line["phase"] == phase)
    losses = [line.get("selection-score", math.nan) for line in lines]
    return min((loss for loss in losses if math.isfinite(loss)), default=math.nan)


def best_rate(losses: Mapping[float, float]) -> float:
    """Return the learning rate with the lowest validation loss; the first of equals, or without losses."""
    return min(losses, key=lambda rate: math.inf if math.isnan(losses[rate]) else losses[rate])


def read_cell(scenario: Scenario, run: Path, method: str) -> StudyCell:
    """Read the result of a method in a run folder; it may have options, as in `variants`.

    Raises
    ------
    RunUnreadableError
        When the folder is damaged.
    """
    variant, method = method, method_of_variant(method)
    try:
        result, config, roster = read_result(run), read_config(run), read_roster(run)
        lines = [line for line in read_history(run) if line["phase"] in _phases(method)]
        modalities = next(iter(roster.values()))["manifest"]["modalities"]
        samples_per_patch = [modality["samples_per_patch"] for modality in modalities]
        test_failures = result["answered"].get(f"task-{method}", {"failures": {}})["failures"]
        return StudyCell(
            data=scenario.data,
            partition=scenario.partition.label,
            num_sites=len(roster),
            missingness=scenario.missingness_label,
            test_missingness=config.test_missingness or AS_IN_TRAINING,
            missingness_in_test=scenario.missingness_in_test_label,
            missingness_settings={k: v for k, v in config.flat().items() if k.startswith("missingness.")},
            missing_fraction=expected_missing_fraction(config, "train", samples_per_patch),
            missing_fraction_in_test=expected_missing_fraction(config, "test", samples_per_patch),
            seed=config.seed,
            method=variant,
            learning_rate=config.task.learning_rate_for(method),
            local_steps=config.task.rounds * config.task.steps,
            failures=len(test_failures) + sum(len(line["failures"]) for line in lines),
            validation_loss=validation_loss(run, method),
            metrics=result["task"].get(method, {}),
            imputation=_imputation_metrics(result, method),
            seconds=sum(line["seconds"] for line in lines),
            bytes_down=sum(line["bytes-down"] for line in lines),
            bytes_up=sum(line["bytes-up"] for line in lines),
            parameters=_num_parameters(run, method),
            code=read_versions(run)["code"],
            run=run.name,
            replicates=_replicates(run, method),
            imputation_replicates=_imputation_replicates(run, method),
        )
    except (ReportError, OSError, ValueError, KeyError, TypeError, StopIteration, SafetensorError) as error:
        raise RunUnreadableError(
            f"the run in {run} is damaged ({type(error).__name__}: {error}): remove it and run the same "
            "command again"
        ) from None


def expected_missing_fraction(config: RunConfig, split: Split, samples_per_patch: Sequence[int]) -> float:
    """Return the fraction of measured samples that a run's missingness is expected to hide in a split."""
    missingness = Missingness.for_split(split, dict(config.missingness), config.test_overrides)
    return missingness.expected_share(samples_per_patch)


def _replicates(run: Path, method: str) -> dict[str, np.ndarray]:
    """Return the metrics of a method in replicates of the test patients; none of a run without replicates."""
    if not sums_path(run, f"task-{method}", "replicates").exists():
        return {}
    estimates = task_estimates(read_run(run), method)
    return {name: e.replicates for name, e in estimates.items() if e.replicates is not None}


def _imputation_replicates(run: Path, method: str) -> dict[tuple[str, str, str], np.ndarray]:
    """Return the metrics of the run's imputers in replicates of the test patients, if the method has one."""
    if METHODS[method].imputer_training == "none" or not weights_paths(run, "replicates-imputer"):
        return {}
    return {
        (pattern, imputer, name): estimate.replicates
        for pattern, imputers in estimates_by_row(read_run(run)).items()
        for imputer, estimates in imputers.items()
        for name, estimate in estimates.items()
        if estimate.replicates is not None
    }


def _imputation_metrics(result: dict[str, Any], method: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of the run's imputer and of naive baselines on the same samples."""
    if METHODS[method].imputer_training == "none":
        return {}
    return {
        pattern: {
            imputer: {key: value for key, value in metrics.items() if isinstance(value, int | float)}
            for imputer, metrics in imputers.items()
        }
        for pattern, imputers in result["imputation"].items()
    }


def _phases(method: str) -> set[str]:
    """Return the phases of a run whose cost a method causes."""
    spec = METHODS[method]
    return {
        f"task-{method}",
        *(phase + PHASE_SUFFIX[spec.scope] for phase in IMPUTER_PHASES[spec.imputer_training]),
    }


def _num_parameters(run: Path, method: str) -> int:
    """Count the weights that a method needs; where each site has its own, those of one site."""
    spec, total = METHODS[method], 0
    imputer = f"imputer{PHASE_SUFFIX[spec.scope]}"
    for name in (f"task-{method}", *((imputer,) if spec.imputer_training != "none" else ())):
        files = [path for path in weights_paths(run, name) if path.name.partition(".")[0] == name]
        for first_file in files[:1]:  # none of the task, where the data have no labels
            with safe_open(first_file, "np") as file:
                keys = file.keys()
                if name == imputer and spec.imputer_training == "relation":  # the network is not used
                    keys = [key for key in keys if key.endswith(".spectrum")]
                total += sum(math.prod(file.get_slice(key).get_shape()) for key in keys)
    return total


def write_csv(rows: Sequence[Mapping[str, CsvValue]], path: Path) -> None:
    """Replace a CSV file atomically; columns are in the order in which the rows introduce them."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = CsvWriter(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow("" if (value := row.get(column)) is None else value for column in columns)
    replace_file(path, text.getvalue())


def replace_file(path: Path, content: str | bytes) -> None:
    """Replace a file atomically."""
    with atomic_write(path, mode=0o644) as file:
        file.write(content.encode() if isinstance(content, str) else content)
