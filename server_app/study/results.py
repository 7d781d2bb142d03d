"""Cells out of run folders: what each method reached at what cost, as rows and as cells.csv.

A cell is one method in one run. What identifies it is every setting that its result depends on, so that it
is found again in whichever run it was computed, and never computed twice.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.run_files import (
    RESULT_FILE,
    RunFileError,
    read_config,
    read_history,
    read_result,
    read_roster,
    read_versions,
    weights_paths,
)
from data_partitions.manifest import Split
from data_partitions.missingness import Missingness
from data_partitions.storage import atomic_write
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.study.design import Scenario
from server_app.study.federations import digest

Row = dict[str, str | int | float | None]

# Settings that a cell's result does not depend on, or that stand in its identity in another form.
IGNORED_SETTINGS = {
    "federation",
    "output",
    "name",
    "resume",
    "sites",
    "min-sites",
    "sites-timeout",
    "round-timeout",
}
IGNORED_SETTINGS |= {"method", "compare-with", "task.learning-rate", "task.learning-rate-by-method"}
TEXT = {"data", "partition", "missingness", "test-missingness", "tested-on", "method", "code", "run"}
FIRST_PHASE = {"none": (), "relation": ("relation",), "diffusion": ("relation", "imputer")}


class RunUnreadable(Exception):
    """A run folder is not what a finished run leaves."""


def cell_key(settings: dict, federation: str, method: str, rate: float) -> str:
    """Of a cell: all that its result depends on, as text. `federation` is the name of its folder."""
    rest = {key: value for key, value in settings.items() if key not in IGNORED_SETTINGS}
    return json.dumps([federation, method, float(rate), sorted(rest.items())])


def completed_cells(runs: Path) -> dict[str, Path]:
    """The run folder of every cell that has been computed, by its identity; damaged folders have none."""
    found: dict[str, Path] = {}
    for result in sorted(runs.glob(f"*/{RESULT_FILE}")):
        try:
            methods = read_result(result.parent)["task"]
            config = read_config(result.parent)
        except (RunFileError, KeyError):
            continue
        federation, settings = Path(config.federation).name, config.flat()
        for method in methods:
            found[cell_key(settings, federation, method, config.task.learning_rate_for(method))] = (
                result.parent
            )
    return found


def validation_score(run: Path, method: str) -> float:
    """The lowest mean validation loss over the rounds, by which the run chose its weights; never the test.

    NaN when there were no validation windows.
    """
    scores = [line["metrics"].get("score") for line in read_history(run) if line["phase"] == f"task-{method}"]
    return min((s for s in scores if s is not None and math.isfinite(s)), default=math.nan)


def best_rate(scores: dict[float, float]) -> float:
    """The learning rate of the lowest validation score; of equals, or without scores, the first."""
    return min(scores, key=lambda rate: math.inf if math.isnan(scores[rate]) else scores[rate])


def read_cell(scenario: Scenario, run: Path, method: str) -> Row:
    """One row: every factor, every metric, seconds, bytes, parameters and the run; RunUnreadable."""
    try:
        result, config, roster = read_result(run), read_config(run), read_roster(run)
        lines = [line for line in read_history(run) if line["phase"] in _phases(method)]
        metrics = result["task"][method]
        seconds = sum(line["seconds"] for line in lines)
        traffic = {f"bytes-{way}": sum(line[f"bytes-{way}"] for line in lines) for way in ("down", "up")}
        rates = [m["samples_per_patch"] for m in next(iter(roster.values()))["manifest"]["modalities"]]
        parameters = _parameters(run, method)
        code = read_versions(run)["code"]
        absent = result["answered"][f"task-{method}"]["failures"]
        failures = len(absent) + sum(len(line["failures"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, SafetensorError) as error:
        raise RunUnreadable(
            f"the run in {run} is damaged ({type(error).__name__}: {error}): remove it, and the same command "
            "does it anew"
        ) from None
    settings, task = config.flat(), config.task
    row: Row = {
        "data": scenario.data,
        "partition": scenario.partition.label,
        "sites": len(roster),
        "missingness": scenario.missingness_label,
        "test-missingness": config.test_missingness or "as in training",
        "tested-on": scenario.tested_label,
        **{key: value for key, value in settings.items() if key.startswith("missingness.")},
        "missing": share_missing(config, "train", rates),
        "missing-in-test": share_missing(config, "test", rates),
        "seed": config.seed,
        "method": method,
        "learning-rate": task.learning_rate_for(method),
        "local-steps": task.rounds * task.steps,
        "failures": failures,
        "validation": validation_score(run, method),
        **metrics,
    }
    if METHODS[method].imputer_training != "none":  # beside the naive imputers, scored on the same samples
        for kind, imputers in result["imputation"].items():
            for name, told in imputers.items():
                numbers = {k: v for k, v in told.items() if isinstance(v, int | float)}
                row |= {f"imputation: {kind}: {name}: {k}": v for k, v in numbers.items()}
    cost = {"seconds": seconds, **traffic, "parameters": parameters}
    return row | cost | {"code": code, "run": run.name}


def share_missing(config: RunConfig, split: Split, samples_per_patch: Sequence[int]) -> float:
    """Compute the share of what was measured that the run's missingness is expected to hide in a split."""
    missingness = Missingness.for_split(split, dict(config.missingness), config.test_missingness)
    return missingness.expected_share(samples_per_patch)


def _phases(method: str) -> set[str]:
    """Phases of a run whose cost is the method's."""
    chosen = METHODS[method]
    return {
        f"task-{method}",
        *(phase + PHASE_SUFFIX[chosen.scope] for phase in FIRST_PHASE[chosen.imputer_training]),
    }


def _parameters(run: Path, method: str) -> int:
    """Numbers in the weights that the method needs; where each site has its own, those of one site."""
    chosen, total = METHODS[method], 0
    imputer = f"imputer{PHASE_SUFFIX[chosen.scope]}"
    for name in (f"task-{method}", *((imputer,) if chosen.imputer_training != "none" else ())):
        one, *_ = (path for path in weights_paths(run, name) if path.name.partition(".")[0] == name)
        with safe_open(one, "np") as file:
            kept = file.keys()
            if name == imputer and chosen.imputer_training == "relation":  # nothing of the network is used
                kept = [key for key in kept if key.endswith(".spectrum")]
            total += sum(math.prod(file.get_slice(key).get_shape()) for key in kept)
    return total


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Replace a csv as a whole; columns in the order in which rows bring them, nothing where one lacks it."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    write(path, text.getvalue())


def read_csv(path: Path) -> list[Row]:
    """What `write_csv` has written."""
    with path.open(newline="") as file:
        return [{key: _value(key, text) for key, text in row.items()} for row in csv.DictReader(file)]


def _value(column: str, text: str) -> str | int | float | None:
    if text == "" or column in TEXT:
        return text or None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def run_seconds(runs: Iterable[Path]) -> list[float]:
    """Seconds of all rounds of finished runs."""
    return [sum(line["seconds"] for line in read_history(run)) for run in runs]


def run_name(federation: str, settings: dict, methods: Sequence[str], rates: dict[str, float]) -> str:
    """Name of the folder of a run: readable, and different for all that is different."""
    which = digest(cell_key(settings, federation, "", 0.0), list(methods), rates)
    return f"{federation}-seed{settings['seed']}-{which}"


def write(path: Path, content: str | bytes) -> None:
    """Replace a file as a whole."""
    with atomic_write(path, mode=0o644) as file:
        file.write(content.encode() if isinstance(content, str) else content)
