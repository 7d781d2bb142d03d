"""The settings of a run, checked. Defaults and meaning of every key: pyproject.toml, [tool.flwr.app.config].

Flower hands settings over flat (`imputer.learning-rate`); `RunConfig.from_flat` nests and checks them.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ConfigError(ValueError):
    """The run's settings are not usable; `complaints` has one sentence for each of them."""

    def __init__(self, *complaints: str) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = complaints


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class MissingnessSettings(_Settings, extra="allow"):
    """The settings of the simulated missingness, as they were given: `dict(config.missingness)`.

    This package does not know what they mean. Whoever makes missingness checks them: `data_partitions`.
    """


class PrivacyConfig(_Settings):
    smallest_count: CountOrNone
    noise_multiplier: PositiveOrNone
    clip_imputer: Positive
    clip_task: Positive
    delta: Annotated[float, Field(gt=0, lt=1)]


class TrainingConfig(_Settings):
    """What both phases need for local training."""

    rounds: Count
    steps: Count
    batch: Count
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Positive
    width: Count
    heads: Count
    blocks: Count
    pair_width: Count

    @field_validator("heads")
    @classmethod
    def _heads_share_the_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads * 2)
        if width % heads or width % 2:
            raise PydanticCustomError("heads", f"must divide the width, an even number, here {width}")
        return heads


class ImputerConfig(TrainingConfig):
    relation_rounds: CountOrNone
    crop: CountOrNone
    token_patches: CountOrNone
    sampling_steps: Count
    samples: CountOrNone


class TaskConfig(TrainingConfig):
    learning_rate_by_method: str
    completions: CountOrNone

    @field_validator("learning_rate_by_method")
    @classmethod
    def _rates_are_positive_numbers(cls, text: str) -> str:
        for method, rate in _pairs(text).items():
            if not (isinstance(_number(rate), int | float) and 0 < _number(rate) < math.inf):
                raise PydanticCustomError("rates", f"the rate of '{method}' must be a number above 0")
        return text

    def learning_rate_for(self, method: str) -> float:
        """The learning rate of phase 2 under a method."""
        return float(_pairs(self.learning_rate_by_method).get(method, self.learning_rate))


class RunConfig(_Settings):
    federation: str
    output: str
    name: str
    resume: str
    method: str
    compare_with: str
    seed: Annotated[int, Field(ge=0)]
    sites: str
    min_sites: Count
    sites_per_round: Annotated[float, Field(gt=0, le=1)]
    sites_timeout: Positive
    round_timeout: Positive
    missingness: MissingnessSettings = MissingnessSettings()
    test_missingness: str
    privacy: PrivacyConfig
    secure_aggregation: bool
    imputer: ImputerConfig
    task: TaskConfig

    @field_validator("task")
    @classmethod
    def _rates_are_of_methods_of_the_run(cls, task: TaskConfig, info: ValidationInfo) -> TaskConfig:
        methods = [info.data.get("method", ""), *info.data.get("compare_with", "").replace(",", " ").split()]
        for name in _pairs(task.learning_rate_by_method):
            if name not in methods:
                raise PydanticCustomError("rates", f"the run has no method '{name}' to have a rate")
        return task

    @field_validator("secure_aggregation")
    @classmethod
    def _sums_are_over_all_sites(cls, secure: bool, info: ValidationInfo) -> bool:
        if secure and info.data.get("sites_per_round", 1) < 1:
            raise PydanticCustomError(
                "secure",
                "cannot be had with sites-per-round below 1: its sums are over all sites",
            )
        return secure

    @field_validator("secure_aggregation")
    @classmethod
    def _clipping_needs_individual_updates(cls, secure: bool, info: ValidationInfo) -> bool:
        if secure and "privacy" in info.data and info.data["privacy"].noise_multiplier:
            raise PydanticCustomError(
                "secure",
                "cannot be had with privacy.noise-multiplier, which needs single updates: choose one",
            )
        return secure

    @classmethod
    def from_flat(cls, flat: dict[str, Any]) -> RunConfig:
        """Read `{"imputer.rounds": 4, ...}`; raises ConfigError that names every bad key at once.

        Settings of the missingness are taken as they are.
        """
        missingness = [key for key in flat if key.startswith("missingness.")]
        known, nested, complaints = [*setting_names(), *missingness], {}, []
        for key, value in flat.items():
            if key in known:
                table, dot, leaf = key.partition(".")
                (nested.setdefault(table, {}) if dot else nested)[leaf if dot else key] = value
            else:
                complaints.append(f"unknown setting '{key}'{_nearest(key, known)}")
        try:
            config = cls.model_validate(nested)
        except ValidationError as error:
            complaints += [_complaint(e, flat) for e in error.errors()]
        if complaints:
            raise ConfigError(*complaints)
        return config

    @property
    def named_sites(self) -> list[str]:
        """Sites that the run is limited to; none: whoever comes."""
        return _names(self.sites)

    @property
    def methods(self) -> list[str]:
        """`method` and the methods in `compare-with`, each once."""
        return list(dict.fromkeys([self.method, *_names(self.compare_with)]))

    def training_differences(self, other: RunConfig) -> list[str]:
        """Keys whose difference makes the two runs train differently."""
        place = {"output", "name", "resume", "federation", "sites"}
        place |= {"sites-timeout", "round-timeout", "min-sites"}
        mine, theirs = self.flat(), other.flat()
        return sorted(k for k in mine | theirs if k not in place and mine.get(k) != theirs.get(k))

    def flat(self) -> dict[str, Any]:
        """Return the settings in Flower's flat form."""
        return flatten(self.model_dump(by_alias=True))


def flatten(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables: `{"imputer": {"rounds": 4}}` becomes `{"imputer.rounds": 4}`."""
    flat = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _names(listed: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in listed.split(",") if name.strip()]


def setting_names() -> list[str]:
    """All valid keys in flat form, without those of the missingness."""
    keys = []
    for name, field in RunConfig.model_fields.items():
        alias, kind = name.replace("_", "-"), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):  # of the missingness this finds none
            keys += [f"{alias}.{leaf.replace('_', '-')}" for leaf in kind.model_fields]
        else:
            keys.append(alias)
    return keys


def _pairs(text: str) -> dict[str, str]:
    """{"a": "1", "b": "x"} of "a=1 b=x"."""
    found = {}
    for pair in text.split():
        key, equals, value = pair.partition("=")
        if not (key and equals and value) or key in found:
            raise PydanticCustomError("pairs", "must be pairs such as 'one=0.1 other=0.2', each key once")
        found[key] = value
    return found


def _number(text: str) -> int | float | str:
    """The number that a text is, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _nearest(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.4)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _complaint(error: Any, flat: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"setting '{key}' is missing"
    return (
        f"setting '{key}': {error['msg'][0].lower()}{error['msg'][1:]}, got {flat.get(key, error['input'])!r}"
    )
