"""Read and interpret a run directory, whether or not the run is finished."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from condi_core.averaging import Arrays
from condi_core.evaluation.imputers import IMPUTER_ROWS
from condi_core.methods import find_scope
from condi_core.run_files import (
    HISTORY_FILE,
    RESULT_FILE,
    ROSTER_FILE,
    RunFileError,
    RunFileMissingError,
    interpret,
    read_history,
    read_result,
    read_roster,
    read_settings,
    read_versions,
    weights_paths,
)
from condi_core.windows import Schema
from data_partitions.sources.demo import DATASET
from server_app.artifacts import scores
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.artifacts.site_info import SiteInfo
from server_app.artifacts.stored_sums import open_arrays, read_replicates_of_sites, read_sums, sum_over_sites

Content = TypeVar("Content")
POSITION_KEYS = ("round", "rounds")  # numbers of a line that give its position in the phase


class ReportError(RuntimeError):
    """No report can be made of a run: the message says what was expected, what came and what to do."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="allow", alias_generator=lambda name: name.replace("_", "-"))


class Round(_Read):
    """A line of history.jsonl; further keys are accepted and preserved."""

    phase: str
    round: int
    rounds: int
    loss: float | None  # None: withheld to protect patients
    metrics: dict[str, float]
    selection_score: float | None = None  # of phases whose rounds are scored
    bytes_down: int
    bytes_up: int
    seconds: float
    site_seconds: dict[str, float]
    failures: dict[str, str]

    def numbers(self) -> dict[str, float]:
        """Return every number of the line except its position, by a name such as `metrics.rmse`."""
        flat: dict[str, float] = {}
        for key, value in self.model_dump(by_alias=True).items():
            inner = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
            flat |= {k: v for k, v in inner.items() if isinstance(v, int | float) and k not in POSITION_KEYS}
        return flat


class Result(_Read):
    """result.json: `{missingness pattern: {method: metrics}}` of imputers, `{method: metrics}` of tasks."""

    imputation: dict[str, dict[str, dict[str, float | list[float]]]]
    task: dict[str, dict[str, float]]
    answered: dict[str, dict] = Field(default_factory=dict)
    privacy: dict[str, float] | None = None

    @field_validator("imputation")
    @classmethod
    def _imputers_have_errors(cls, imputation: dict[str, dict[str, dict]]) -> dict[str, dict[str, dict]]:
        for pattern, imputers in imputation.items():
            for name, metrics in imputers.items():
                if missing := {"rmse", "mae"} - metrics.keys():
                    raise ValueError(f"{name} has no {', '.join(sorted(missing))} of {pattern}")
        return imputation


@dataclass(frozen=True)
class RunRecord:
    """What a run directory holds, finished or not. `read_run` makes one.

    Parameters
    ----------
    path : Path
        The run directory.
    config : dict
        Its settings in Flower's flat form.
    sites : dict of str to SiteInfo
        Sites by name; empty when the run ended before its sites were known.
    history : list of Round
        Rounds in the order in which they were done.
    result : Result or None
        The closing tables; None until the run is finished.
    sums : dict
        Sums of the test scores by phase, site and name; of phases that have been tested.
    validation_sums : dict
        The same of the validation scores of the selected weights, where a label's threshold is chosen.
    replicates : dict
        Replicates of the test sums over patients, by phase and site; see `run_estimates`.
    versions : dict of str to str
        Software versions of the coordinator.
    """

    path: Path
    config: dict[str, Any]
    sites: dict[str, SiteInfo] = field(default_factory=dict)
    history: list[Round] = field(default_factory=list)
    result: Result | None = None
    sums: dict[str, dict[str, Arrays]] = field(default_factory=dict)
    validation_sums: dict[str, dict[str, Arrays]] = field(default_factory=dict)
    replicates: dict[str, Arrays] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def schema(self) -> Schema:
        """Schema of the run's windows; ReportError when the run has no `sites`."""
        for site in self.sites.values():
            return Schema.model_validate(site.manifest.schema_fields())
        raise ReportError(
            f"the run in {self.path} has no {ROSTER_FILE}: it ended before its sites were known"
        )

    @property
    def is_synthetic(self) -> bool:
        """Whether all data are the generated demo, so that no patient is in them."""
        return {site.manifest.dataset for site in self.sites.values()} == {DATASET}

    @property
    def scope(self) -> str:
        """Who trains the models of the run's method; "federated" where the method is not installed here."""
        return find_scope(str(self.config.get("method", "")))

    @property
    def phases(self) -> dict[str, list[Round]]:
        """Rounds by phase, in the order in which they were done."""
        rounds: dict[str, list[Round]] = {}
        for line in self.history:
            rounds.setdefault(line.phase, []).append(line)
        return rounds

    @cached_property
    def imputation(self) -> dict[str, dict[str, dict]]:
        """Test rows of the imputers: those of the result, or of the sums while the run is unfinished."""
        if self.result and self.result.imputation:
            return self.result.imputation
        table: dict[str, dict[str, dict]] = {}
        for scope, suffix in PHASE_SUFFIX.items():
            if by_site := self.sums.get(f"imputer{suffix}"):
                rows = scores.imputation_rows(sum_over_sites(by_site), self.schema)
                scores.add_imputation(table, rows, scope)
        return table

    @property
    def own_imputer(self) -> str:
        """Name of the method of another package whose imputer the run has trained; empty for CondI's."""
        names = (name for rows in self.imputation.values() for name in rows if name not in IMPUTER_ROWS)
        return next((name for name in names if not name.endswith(", draws")), "")

    @cached_property
    def task(self) -> dict[str, dict[str, Any]]:
        """Test metrics by method: those of the result, and of the sums where it has none."""
        metrics = dict(self.result.task) if self.result else {}
        for method in self.scored_methods:
            metrics.setdefault(method, self.task_metrics(sum_over_sites(self.sums[f"task-{method}"])))
        return metrics

    @property
    def scored_methods(self) -> list[str]:
        """Methods for which the run directory has the test scores of each site."""
        return [phase.removeprefix("task-") for phase in self.sums if phase.startswith("task-")]

    def task_metrics(self, sums: Arrays) -> dict[str, float]:
        """Compute the metrics of a task phase from its sums."""
        return self.schema.task_kind.metrics(sums)

    @property
    def is_private(self) -> bool:
        """Whether the run had differential privacy, and therefore used the weights of the last round."""
        return any(self.config.get(f"privacy.{name}") for name in ("noise-multiplier", "patient-epsilon"))

    def best_round(self, phase: str) -> int | None:
        """Return the round whose weights were selected: that of the lowest selection score, or the last."""
        scores = {
            line.round: line.selection_score
            for line in self.phases.get(phase, [])
            if line.selection_score is not None
        }
        finite = {round_: score for round_, score in scores.items() if math.isfinite(score)}
        if self.is_private or not finite:
            return max(scores, default=None)
        return min(finite, key=finite.__getitem__)

    def parameters(self) -> dict[str, int]:
        """Return the number of parameters of each model that the run has written, by name of its file."""
        counts = {}
        files = [*weights_paths(self.path, "imputer"), *weights_paths(self.path, "task-")]
        for file in sorted(files, key=lambda f: f.name.removesuffix(".safetensors")):
            try:
                with open_arrays(file) as opened:
                    shapes = [opened.get_slice(key).get_shape() for key in opened.keys()]  # noqa: SIM118
            except RunFileError as error:
                raise ReportError(str(error)) from None
            counts[file.stem] = sum(math.prod(shape) for shape in shapes)
        return counts


def read_run(path: Path) -> RunRecord:
    """Read a run directory; files that an unfinished run does not have yet are skipped.

    Parameters
    ----------
    path : Path
        The run directory.

    Returns
    -------
    RunRecord

    Raises
    ------
    ReportError
        There is no run at `path`, or a file of it is damaged.
    """
    if not path.is_dir():
        raise ReportError(f"there is no run at {path}: give a run directory, such as runs/demo")
    try:
        record = RunRecord(
            path=path,
            config=read_settings(path),
            sites=_optional(lambda: _sites(path)) or {},
            history=_optional(lambda: _rounds(path)) or [],
            result=_optional(lambda: _result(path)),
            versions=_optional(lambda: read_versions(path)) or {},
        )
        if record.sites:
            record.sums.update(read_sums(path, record.schema, "test"))
            record.replicates.update(read_replicates_of_sites(path))
            record.validation_sums.update(read_sums(path, record.schema, "val"))
    except RunFileError as error:
        raise ReportError(str(error)) from None
    return record


def _optional(read: Callable[[], Content]) -> Content | None:
    """Return what is read, or None when the run has no such file yet."""
    try:
        return read()
    except RunFileMissingError:
        return None


def _sites(path: Path) -> dict[str, SiteInfo]:
    def convert() -> dict[str, SiteInfo]:
        return {name: SiteInfo.read(0, {"name": name, **site}) for name, site in roster.items()}

    roster = read_roster(path)
    return interpret(path / ROSTER_FILE, convert)


def _rounds(path: Path) -> list[Round]:
    lines = read_history(path)
    return interpret(path / HISTORY_FILE, lambda: [Round.model_validate(line) for line in lines])


def _result(path: Path) -> Result:
    content = read_result(path)
    return interpret(path / RESULT_FILE, lambda: Result.model_validate(content))
