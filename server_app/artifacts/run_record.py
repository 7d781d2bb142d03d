"""A run directory read back, as much of it as there is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from condi_core.metrics import score_histograms
from condi_core.windows import Schema
from data_partitions.sources.demo import DATASET
from server_app.artifacts import scores
from server_app.artifacts.run_directory import Arrays
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.artifacts.site_info import SiteInfo

Read = TypeVar("Read")


class ReportError(RuntimeError):
    """A run that no report can be made of: what was expected, what is there, what to do."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="allow", alias_generator=lambda name: name.replace("_", "-"))


class Round(_Read):
    """A line of history.jsonl; what it has beyond these is kept."""

    phase: str
    round: int
    rounds: int
    loss: float
    metrics: dict[str, float]
    bytes_down: int
    bytes_up: int
    seconds: float
    site_seconds: dict[str, float]
    failures: dict[str, str]

    def numbers(self) -> dict[str, float]:
        """Every number of the line but those of its place, by a name such as `metrics.rmse`."""
        flat: dict[str, float] = {}
        for key, value in self.model_dump(by_alias=True).items():
            inner = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
            flat |= {k: v for k, v in inner.items() if isinstance(v, int | float) and k not in _PLACE}
        return flat


_PLACE = ("round", "rounds")


class Result(_Read):
    """result.json; `imputation` is `{kind of missingness: {method: metrics}}`, `task` is `{method: metrics}`."""

    imputation: dict[str, dict[str, dict[str, Any]]]
    task: dict[str, dict[str, Any]]
    answered: dict[str, dict] = Field(default_factory=dict)
    privacy: dict[str, float] | None = None


@dataclass(frozen=True)
class RunRecord:
    """What a run directory holds. `result` is None until the run is over; `sums` has what was scored."""

    path: Path
    config: dict
    sites: dict[str, SiteInfo] = field(default_factory=dict)
    history: list[Round] = field(default_factory=list)
    result: Result | None = None
    sums: dict[str, dict[str, Arrays]] = field(default_factory=dict)  # phase → site → name → sums
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def schema(self) -> Schema | None:
        for site in self.sites.values():
            return Schema.model_validate(site.manifest.schema())
        return None

    @property
    def generated(self) -> bool:
        """Whether nothing in it is of a patient."""
        return {site.manifest.dataset for site in self.sites.values()} == {DATASET}

    @property
    def phases(self) -> dict[str, list[Round]]:
        """Rounds by phase, in the order in which they were done."""
        found: dict[str, list[Round]] = {}
        for line in self.history:
            found.setdefault(line.phase, []).append(line)
        return found

    @cached_property
    def imputation(self) -> dict[str, dict[str, dict]]:
        """Test rows of the imputer: those of the result, or read from the sums of a run still going on."""
        if self.result and self.result.imputation:
            return self.result.imputation
        found: dict[str, dict[str, dict]] = {}
        for who, suffix in PHASE_SUFFIX.items():
            if by_site := self.sums.get(f"imputer{suffix}"):
                scores.add_imputation(
                    found, scores.imputation_rows(sum_over_sites(by_site), self.schema), who
                )
        return found

    @cached_property
    def task(self) -> dict[str, dict[str, float]]:
        """Test metrics by method, likewise."""
        found = dict(self.result.task) if self.result else {}
        for method in self.scored_methods:
            found.setdefault(method, self.task_metrics(sum_over_sites(self.sums[f"task-{method}"])))
        return found

    @property
    def scored_methods(self) -> list[str]:
        """Methods whose test scores the run has kept by site."""
        return [phase.removeprefix("task-") for phase in self.sums if phase.startswith("task-")]

    def task_metrics(self, sums: Arrays) -> dict[str, float]:
        return self.schema.task_kind.metrics(sums, self.schema.ordered)

    def best_round(self, phase: str) -> int | None:
        """The round whose weights were kept: that of the lowest validation score, or the last."""
        scored = [line for line in self.phases.get(phase, []) if "score" in line.metrics]
        finite = [line for line in scored if math.isfinite(line.metrics["score"])]
        if self.config.get("privacy.noise-multiplier") or not finite:
            return scored[-1].round if scored else None
        return min(finite, key=lambda line: line.metrics["score"]).round

    def parameters(self) -> dict[str, int]:
        """Numbers in each model that the run has left."""
        found = {}
        files = [*self.path.glob("imputer*.safetensors"), *self.path.glob("task-*.safetensors")]
        for file in sorted(files, key=lambda f: f.name.removesuffix(".safetensors")):
            with _open(file) as opened:
                shapes = [opened.get_slice(key).get_shape() for key in opened.keys()]  # noqa: SIM118
            found[file.stem] = sum(math.prod(shape) for shape in shapes)
        return found


def sum_over_sites(by_site: dict[str, Arrays]) -> Arrays:
    """Sums of all sites together."""
    added: Arrays = {}
    for arrays in by_site.values():
        for name, array in arrays.items():
            added[name] = added.get(name, 0) + array
    return added


def histograms(sums: Arrays, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Score histograms of a label's positives and negatives."""
    return score_histograms(sums["task"])[label]


def read_run(path: Path) -> RunRecord:
    """What there is of a run; ReportError in one sentence when it is none, or a file of it is damaged."""
    if not path.is_dir():
        raise ReportError(f"there is no run at {path}: give the folder of a run, such as runs/demo")
    config = _read(path / "config.json", lambda text: _config(json.loads(text)))
    if config is None:
        raise ReportError(f"{path} is not the folder of a run: it has no config.json")
    roster = _read(path / "roster.json", lambda text: _roster(json.loads(text))) or {}
    record = RunRecord(
        path=path,
        config=config,
        sites=roster,
        history=_read(path / "history.jsonl", _history) or [],
        result=_read(path / "result.json", lambda text: Result.model_validate(json.loads(text))),
        versions=_read(path / "versions.json", lambda text: dict(json.loads(text))) or {},
    )
    record.sums.update(_sums(record))
    return record


def _read(file: Path, read: Callable[[str], Read]) -> Read | None:
    try:
        return read(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        why = " ".join(first.split())[:200]
        raise ReportError(f"{file} is damaged or not of a run of this version ({why})") from None


def _config(told: dict) -> dict:
    if not {"method", "seed", "imputer.rounds", "task.rounds"} <= told.keys():
        raise ValueError("these are not the settings of a run")
    return dict(told)


def _roster(told: dict) -> dict[str, SiteInfo]:
    return {name: SiteInfo.read(0, {"name": name, **site}) for name, site in told.items()}


def _history(text: str) -> list[Round]:
    return [Round.model_validate(json.loads(line)) for line in text.splitlines() if line.strip()]


def _open(file: Path) -> safe_open:
    try:
        return safe_open(file, "np")
    except (SafetensorError, OSError) as error:
        raise ReportError(f"{file} is damaged ({error})") from None


def _name(key: str, known: Collection[str]) -> str:
    """What `<site>/<name>` is a sum of; both may have a slash in them."""
    return next((name for name in known if key.endswith(f"/{name}")), "")


def _sums(record: RunRecord) -> dict[str, dict[str, Arrays]]:
    found: dict[str, dict[str, Arrays]] = {}
    schema = record.schema
    for file in sorted(record.path.glob("test-*.safetensors")) if schema else ():
        phase = file.stem.removeprefix("test-")
        expected = (scores.imputation_evaluation if phase.startswith("imputer") else scores.task_evaluation)(
            schema
        ).shapes(1)
        with _open(file) as opened:
            places = {name: place for place, name in enumerate(expected)}  # the file has them by the alphabet
            for key in sorted(opened.keys(), key=lambda k: places.get(_name(k, expected), -1)):
                name = _name(key, expected)
                site, array = key.removesuffix(f"/{name}"), opened.get_tensor(key)
                if array.shape != expected.get(name):
                    raise ReportError(f"{file} is damaged ({key} is {array.shape})")
                found.setdefault(phase, {}).setdefault(site, {})[name] = array
    return found
