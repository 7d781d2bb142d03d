"""A STUDY.toml, checked, and what it comes to: scenarios, each with seeds and methods.

A scenario is one data set in one partition with one kind of holes in training and one in test. Everything in
a scenario is the same for all methods: windows, holes, splits, rounds and local steps.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from condi_core.config import ConfigError, flatten, setting_names
from condi_core.evaluation.catalogue import TASK_METRICS
from condi_core.methods import METHOD_NAMES
from data_partitions.missingness import AMOUNTS, SETTINGS, active_settings
from server_app.operations.run_config import SettingValue, default_settings
from server_app.settings import validate_settings

PRESETS = Path(__file__).parent / "presets"
# Settings that a study makes out of its own keys.
STUDY_KEYS = {
    "federation": "[data.NAME]",
    "method": "methods",
    "compare-with": "methods",
    "seed": "seeds",
    "test-missingness": "test-missingness",
    "task.learning-rate": "learning-rates",
    "task.learning-rate-by-method": "learning-rates",
}
PLACES = ("output", "name", "resume", "sites")

Unique = Annotated[list, Field(min_length=1)]
Number = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StudyError(ValueError):
    """The study cannot be carried out as it is written; the message says what to write instead."""


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class DatasetSpec(_Table):
    """A data set as `condi prepare` takes it; `options` are those of its reader, such as rate = 100."""

    dataset: Literal["demo", "ptb-xl", "sleep-edf", "mimic-iv", "physionet-2012"]
    source: str = ""
    options: dict[str, str | int | float | bool] = {}


class SplitSpec(_Table):
    """How patients go to sites. Without `seed` what is random in it is drawn anew for each of the seeds."""

    split: Literal["natural", "iid", "dirichlet"] = "natural"
    sites: Annotated[int, Field(ge=1)] | None = None
    alpha: Number = 0.5
    modalities: int | str = "all"
    seed: Annotated[int, Field(ge=0)] | None = None

    @property
    def label(self) -> str:
        parts = [self.split + (f" {self.alpha:g}" if self.split == "dirichlet" else "")]
        parts += [f"{self.sites} sites"] if self.sites else []
        parts += [f"{self.modalities} modalities"] if self.modalities != "all" else []
        return ", ".join(parts + ([f"split {self.seed}"] if self.seed is not None else []))

    def drawn_by(self, seed: int) -> int:
        """The seed of the split under a seed of the study."""
        nothing_random = self.split == "natural" and self.modalities == "all"
        return self.seed if self.seed is not None else 0 if nothing_random else seed


@dataclass(frozen=True)
class Scenario:
    """What the cells that are compared with each other have in common."""

    data: str
    partition: SplitSpec
    missingness: tuple[tuple[str, SettingValue], ...]
    test_missingness: str

    @property
    def missingness_label(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.missingness if value != 0) or "none"

    @property
    def tested_label(self) -> str:
        """All holes of test windows, as `holes_label` has those of training windows."""
        changes = dict(pair.split("=", 1) for pair in self.test_missingness.split())
        nothing = {key: 0 for key, text in changes.items() if key in AMOUNTS and float(text) == 0}
        missingness = active_settings(dict(self.missingness) | changes | nothing)
        return replace(self, missingness=tuple(missingness.items())).missingness_label

    @property
    def label(self) -> str:
        label = f"{self.data}, {self.partition.label}, missingness {self.missingness_label}"
        return label + (f", in test {self.test_missingness}" if self.test_missingness else "")


class Study(_Table):
    methods: Unique
    seeds: Unique
    metric: str = "auroc"  # a key of TASK_METRICS
    learning_rates: list[Number] = []
    local_epochs: Number | None = None
    data: Annotated[dict[str, DatasetSpec], Field(min_length=1)]
    partition: Annotated[list[SplitSpec], Field(min_length=1)] = [SplitSpec()]
    missingness: Annotated[list[dict[str, Any]], Field(min_length=1)] = [{}]
    test_missingness: Annotated[list[str], Field(min_length=1)] = [""]
    settings: dict[str, Any] = {}

    @field_validator("partition", "missingness", mode="before")
    @classmethod
    def _one_table_will_do(cls, given: Any) -> Any:
        return [given] if isinstance(given, dict) else given

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """All combinations, in the order of the file; of a key of holes with a list each entry is one."""
        found = []
        for data, partition, table, test in product(
            self.data, self.partition, self.missingness, self.test_missingness
        ):
            entries = [value if isinstance(value, list) else [value] for value in table.values()]
            for values in product(*entries):
                missingness = active_settings(dict(zip(table, values, strict=True)))
                found.append(Scenario(data, partition, tuple(missingness.items()), test))
        return list(dict.fromkeys(found))

    @property
    def rates(self) -> list[float]:
        return self.learning_rates or [float(default_settings()["task.learning-rate"])]

    def run_settings(self, scenario: Scenario, seed: int) -> dict[str, SettingValue]:
        """Every setting of the scenario's runs, but for places, methods and their rates.

        A share that the study does not name is 0, whatever it is in other runs.
        """
        settings = (
            default_settings() | {f"missingness.{name}": 0.0 for name in AMOUNTS} | flatten(self.settings)
        )
        settings |= {f"missingness.{key}": value for key, value in scenario.missingness}
        return settings | {"test-missingness": scenario.test_missingness, "seed": seed}


def presets() -> dict[str, str]:
    """Names of the studies that come with CondI, with the first line of each."""
    return {p.stem: p.read_text().splitlines()[0].lstrip("# ") for p in sorted(PRESETS.glob("*.toml"))}


def load_study(name: str) -> tuple[Study, Path]:
    """The study of a file or preset, and the folder that its sources are relative to; StudyError."""
    path = PRESETS / f"{name}.toml" if name in presets() else Path(name).expanduser()
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise StudyError(
            f"there is no study at {name}: give a TOML file, or one of the presets {', '.join(presets())}"
        ) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StudyError(f"cannot read {name}: {why}") from None
    return read_study(table), Path.cwd() if path.parent == PRESETS else path.absolute().parent


def read_study(table: dict[str, Any]) -> Study:
    """The study that a table says; StudyError that names every bad key at once."""
    try:
        study = Study.model_validate(table)
    except ValidationError as error:
        raise StudyError("; ".join(_complaint(e) for e in error.errors())) from None
    complaints = [
        f"unknown method '{name}'{_nearest(name, METHOD_NAMES)}"
        for name in study.methods
        if name not in METHOD_NAMES
    ]
    if study.metric not in TASK_METRICS:
        complaints.append(f"unknown metric '{study.metric}'{_nearest(study.metric, TASK_METRICS)}")
    complaints += [f"seed {s!r} is not a whole number from 0" for s in study.seeds if not _is_seed(s)]
    for key in ("methods", "seeds", "learning_rates"):
        values = getattr(study, key)
        complaints += [f"{key.replace('_', '-')} has {v!r} twice" for v in values if values.count(v) > 1][:1]
    complaints += _bad_settings(study) + _bad_missingness(study)
    if not complaints:
        for scenario in study.scenarios:
            try:
                validate_settings(study.run_settings(scenario, 0))
            except ConfigError as error:
                complaints += [str(error)] if str(error) not in complaints else []
    if complaints:
        raise StudyError("; ".join(complaints))
    return study


def _is_seed(seed: Any) -> bool:
    return isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0


def _bad_settings(study: Study) -> list[str]:
    known, complaints = setting_names(), []
    for key in flatten(study.settings):
        if key in STUDY_KEYS or key.startswith("missingness."):
            complaints.append(
                f"setting '{key}' is the study's own: write {STUDY_KEYS.get(key, '[missingness]')}"
            )
        elif key in PLACES:
            complaints.append(f"setting '{key}' cannot be set in a study, which makes its own run folders")
        elif study.local_epochs and key in ("task.steps", "imputer.steps"):
            complaints.append(f"setting '{key}' follows from local-epochs: leave one of them out")
        elif key not in known:
            complaints.append(f"unknown setting '{key}'{_nearest(key, known)}")
    return complaints


def _bad_missingness(study: Study) -> list[str]:
    named = dict.fromkeys(key for table in study.missingness for key in table)
    complaints = [
        f"unknown key '{key}' of missingness{_nearest(key, SETTINGS)}" for key in named if key not in SETTINGS
    ]
    empty = {key for table in study.missingness for key, value in table.items() if value == []}
    return complaints + [f"missingness: {key} has no entry" for key in sorted(empty)]


def _complaint(error: Any) -> str:
    """One fault that pydantic found."""
    place = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        table = {"data": DatasetSpec, "partition": SplitSpec}.get(place[0]) if len(place) > 1 else Study
        known = [name.replace("_", "-") for name in table.model_fields]
        where = f" of {'.'.join(place[:-1])}" if len(place) > 1 else ""
        return f"unknown key '{place[-1]}'{where}{_nearest(place[-1], known)}"
    if error["type"] == "missing":
        return f"key '{'.'.join(place)}' is missing"
    return f"key '{'.'.join(place)}': {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _nearest(key: str, known: Any) -> str:
    near = get_close_matches(key, list(known), n=1, cutoff=0.4)
    return f" (did you mean '{near[0]}'?)" if near else f": choose from {', '.join(known)}"
