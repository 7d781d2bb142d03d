"""Read the TOML file of a study, and list the scenarios that it describes, each with all seeds and methods.

A scenario is one data set in one partition with one missingness in training and one in test. Everything in a
scenario is the same for all methods: windows, missingness, splits, rounds and local steps.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from condi_core.config import flatten, setting_names
from condi_core.evaluation.catalogue import TASK_METRICS
from condi_core.methods import METHOD_NAMES, describe_unknown_method
from condi_core.missingness import AMOUNTS, SETTINGS, active_settings
from condi_core.settings_text import describe_error, parse_values, suggest_name
from data_partitions.errors import DataError
from data_partitions.layout import list_sites
from server_app.operations.preflight import require_sites, require_valid_settings
from server_app.operations.run_config import RunRejectedError, SettingValue, default_settings
from server_app.settings import validate_settings
from server_app.study.errors import StudyError
from server_app.study.factors import (
    AS_PREPARED,
    NUM_SEEDS,
    AsPrepared,
    DatasetSpec,
    PositiveFloat,
    SplitSpec,
    StudyTable,
)
from server_app.study.preset_files import FOLDER, preset_file, preset_summaries
from server_app.study.variants import method_of_variant, options_setting, split_variant, write_variant

# Settings that a study derives from its own keys, each with the key to write instead.
STUDY_KEYS = {
    "federation": "[data.NAME]",
    "method": "methods",
    "compare-with": "methods",
    "method-options": "methods",
    "seed": "seeds",
    "test-missingness": "test-missingness",
    "task.learning-rate": "learning-rates",
    "task.learning-rate-by-method": "learning-rates",
}
RUN_FOLDER_SETTINGS = ("output", "name", "resume", "sites")

NonEmptyList = Annotated[list, Field(min_length=1)]


@dataclass(frozen=True)
class Scenario:
    """The factors that cells have in common if they are compared with each other.

    Attributes
    ----------
    data : name of the data set in the study
    partition : how its patients are assigned to sites
    missingness : settings of the missingness of training windows, as (key, value)
    test_missingness : how test windows differ, such as "points=0.8"; empty when they do not
    """

    data: str
    partition: SplitSpec | AsPrepared
    missingness: tuple[tuple[str, SettingValue], ...]
    test_missingness: str

    @property
    def missingness_label(self) -> str:
        """The missingness of training windows, such as "points=0.2 gaps=0.5"."""
        return " ".join(f"{key}={value}" for key, value in self.missingness if value != 0) or "none"

    @property
    def missingness_in_test_label(self) -> str:
        """The whole missingness of test windows, in the form of `missingness_label`."""
        missingness = active_settings(dict(self.missingness) | parse_values(self.test_missingness))
        return replace(self, missingness=tuple(missingness.items())).missingness_label

    @property
    def label(self) -> str:
        label = f"{self.data}, {self.partition.label}, missingness {self.missingness_label}"
        return label + (f", in test {self.test_missingness}" if self.test_missingness else "")


class Study(StudyTable):
    """A study as its TOML file describes it; `read_study` makes one from a table."""

    methods: NonEmptyList
    seeds: NonEmptyList
    metric: str = "auroc"  # a key of TASK_METRICS
    learning_rates: list[PositiveFloat] = []
    local_epochs: PositiveFloat | None = None
    data: Annotated[dict[str, DatasetSpec], Field(min_length=1)]
    partition: Annotated[list[SplitSpec], Field(min_length=1)] = [SplitSpec()]
    missingness: Annotated[list[dict[str, Any]], Field(min_length=1)] = [{}]
    test_missingness: Annotated[list[str], Field(min_length=1)] = [""]
    settings: dict[str, Any] = {}

    @field_validator("methods")
    @classmethod
    def _write_methods_in_one_form(cls, methods: list) -> list:
        return [write_variant(*split_variant(method)) for method in map(str, methods)]

    @field_validator("partition", "missingness", mode="before")
    @classmethod
    def _accept_a_single_table(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """All combinations, in the order of the file; each value in a list of missingness is a scenario."""
        scenarios = []
        assignments: dict[str, Sequence[SplitSpec | AsPrepared]] = {
            name: [AS_PREPARED] if data.federation else self.partition for name, data in self.data.items()
        }
        pairs = [(data, partition) for data in self.data for partition in assignments[data]]
        for (data, partition), table, test in product(pairs, self.missingness, self.test_missingness):
            entries = [value if isinstance(value, list) else [value] for value in table.values()]
            for values in product(*entries):
                missingness = active_settings(dict(zip(table, values, strict=True)))
                scenarios.append(Scenario(data, partition, tuple(missingness.items()), test))
        return list(dict.fromkeys(scenarios))

    @property
    def rates(self) -> list[float]:
        """The learning rates to choose from."""
        return self.learning_rates or [float(default_settings()["task.learning-rate"])]

    def run_settings(self, scenario: Scenario, seed: int) -> dict[str, SettingValue]:
        """Return the settings of a scenario's runs, without folders, methods and their learning rates.

        Missingness that the study does not mention is off, whatever the default of other runs.
        """
        settings = default_settings() | {f"missingness.{name}": 0.0 for name in AMOUNTS}
        settings |= flatten(self.settings)
        settings |= {f"missingness.{key}": value for key, value in scenario.missingness}
        return settings | {"test-missingness": scenario.test_missingness, "seed": seed}


def load_study(name: str) -> Study:
    """Read a study; its paths are relative to its file, or to the current folder for a preset.

    Parameters
    ----------
    name : a preset, or the path of a TOML file

    Raises
    ------
    StudyError
        When there is no such study, or it is not valid.
    """
    path = preset_file(name) if name in preset_summaries() else Path(os.path.expanduser(name))
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise StudyError(
            f"there is no study {name}: name a TOML file, or one of the presets "
            f"{', '.join(preset_summaries())}"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StudyError(f"cannot read {name}: {reason}") from None
    base = Path.cwd() if path.parent == FOLDER else path.absolute().parent
    study = read_study(table)
    data = {key: dataset.relative_to(base) for key, dataset in study.data.items()}
    study = study.model_copy(update={"data": data})
    for scenario in study.scenarios:
        _require_sites(study, scenario)
    return study


def read_study(table: dict[str, Any]) -> Study:
    """Read a study from the table of its file; StudyError names every invalid key at once."""
    try:
        study = Study.model_validate(table)
    except ValidationError as error:
        raise StudyError("; ".join(_complaint(e) for e in error.errors())) from None
    names = map(method_of_variant, study.methods)
    complaints = [describe_unknown_method(name) for name in names if name not in METHOD_NAMES]
    if study.metric not in TASK_METRICS:
        complaints.append(
            f"unknown metric '{study.metric}'{suggest_name(study.metric, TASK_METRICS, list_all=True)}"
        )
    complaints += [
        f"seed {s!r} is not a whole number from 0 to {NUM_SEEDS - 1}" for s in study.seeds if not _is_seed(s)
    ]
    for key in ("methods", "seeds", "learning_rates"):
        values = getattr(study, key)
        complaints += [f"{key.replace('_', '-')} has {v!r} twice" for v in values if values.count(v) > 1][:1]
    complaints += _data_complaints(study) + _setting_complaints(study) + _missingness_complaints(study)
    if not complaints:
        first, *others = study.scenarios
        pairs = [(first, variant) for variant in study.methods]
        for scenario, variant in [*pairs, *((other, study.methods[0]) for other in others)]:
            methods = {"method": method_of_variant(variant), "compare-with": ""}
            methods["method-options"] = options_setting([variant])
            try:
                require_valid_settings(study.run_settings(scenario, 0) | methods)
            except RunRejectedError as error:
                complaint = str(error).removesuffix(".")
                complaints += [complaint] if complaint not in complaints else []
    if complaints:
        raise StudyError("; ".join(complaints))
    return study


def _require_sites(study: Study, scenario: Scenario) -> None:
    """Raise StudyError when a run needs more sites than the scenario has, where that is known."""
    federation, num_sites = study.data[scenario.data].federation, scenario.partition.sites
    sites = [str(number) for number in range(num_sites or 0)]
    try:
        if sites or federation:
            config = validate_settings(study.run_settings(scenario, 0))
            require_sites(config, sites or list_sites(Path(federation)), f"{scenario.data} has")
    except (DataError, RunRejectedError) as error:
        raise StudyError(f"data.{scenario.data}: {str(error).removesuffix('.')}") from None


def _is_seed(seed: Any) -> bool:
    return isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < NUM_SEEDS


def _data_complaints(study: Study) -> list[str]:
    complaints = [
        f"data.{name}: {reason}" for name, dataset in study.data.items() for reason in dataset.complaints()
    ]
    if "partition" in study.model_fields_set and all(data.federation for data in study.data.values()):
        complaints.append("partition has no effect on a federation, which is prepared already: remove it")
    return complaints


def _setting_complaints(study: Study) -> list[str]:
    known = setting_names()
    complaints = []
    for key in flatten(study.settings):
        if key in STUDY_KEYS or key.startswith("missingness."):
            complaints.append(
                f"setting '{key}' follows from the study: write {STUDY_KEYS.get(key, '[missingness]')}"
            )
        elif key in RUN_FOLDER_SETTINGS:
            complaints.append(f"setting '{key}' cannot be set in a study, which makes its own run folders")
        elif study.local_epochs and key in ("task.steps", "imputer.steps"):
            complaints.append(f"setting '{key}' follows from local-epochs: remove one of them")
        elif key not in known:
            complaints.append(f"unknown setting '{key}'{suggest_name(key, known, list_all=True)}")
    return complaints


def _missingness_complaints(study: Study) -> list[str]:
    keys = dict.fromkeys(key for table in study.missingness for key in table)
    complaints = [
        f"unknown key '{key}' of missingness{suggest_name(key, SETTINGS, list_all=True)}"
        for key in keys
        if key not in SETTINGS
    ]
    for key, value in ((key, value) for table in study.missingness for key, value in table.items()):
        if value == []:
            complaints.append(f"missingness: {key} has no entry")
        elif any(isinstance(v, list | dict) for v in (value if isinstance(value, list) else [value])):
            complaints.append(
                f"missingness: expected a value of {key} or a list of values, got {value!r}: write numbers"
            )
    return list(dict.fromkeys(complaints))


def _complaint(error: Any) -> str:
    """Write an error of pydantic as a sentence."""
    if error["type"] != "extra_forbidden":
        return describe_error(error, "key")
    position = [str(part) for part in error["loc"]]
    tables: dict[str, type[BaseModel]] = {"data": DatasetSpec, "partition": SplitSpec}
    table = tables[position[0]] if len(position) > 1 else Study
    known = [name.replace("_", "-") for name in table.model_fields]
    suffix = f" of {'.'.join(position[:-1])}" if len(position) > 1 else ""
    return f"unknown key '{position[-1]}'{suffix}{suggest_name(position[-1], known, list_all=True)}"
