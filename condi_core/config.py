"""The settings of a run, checked. Defaults and meaning of every key: pyproject.toml, [tool.flwr.app.config].

Flower hands settings over flat (`imputer.learning-rate`); `RunConfig.from_flat` nests and checks them.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
DependsOn = Literal["nothing", "another", "itself"]


class ConfigError(ValueError):
    """The run's settings are not usable; the message says what to write instead."""


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class HolesConfig(_Settings):
    points: Share
    points_depend_on: DependsOn
    gaps: Share
    gaps_depend_on: DependsOn
    gap_patches: Count
    bursts: Share
    burst_patches: Positive
    blackout: Share
    modality_by_window: Share
    modality_by_site: Share
    thin_to: PositiveOrNone


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
    completions: CountOrNone


class RunConfig(_Settings):
    federation: str
    output: str
    name: str
    resume: str
    method: str
    beside: str
    seed: Annotated[int, Field(ge=0)]
    sites: str
    min_sites: Count
    sites_timeout: Positive
    round_timeout: Positive
    holes: HolesConfig
    privacy: PrivacyConfig
    secure_aggregation: bool
    imputer: ImputerConfig
    task: TaskConfig

    @field_validator("secure_aggregation")
    @classmethod
    def _clipping_needs_single_updates(cls, secure: bool, info: ValidationInfo) -> bool:
        if secure and "privacy" in info.data and info.data["privacy"].noise_multiplier:
            raise PydanticCustomError(
                "secure",
                "cannot be had with privacy.noise-multiplier, which needs single updates: choose one",
            )
        return secure

    @classmethod
    def from_flat(cls, flat: dict[str, Any]) -> RunConfig:
        """Read `{"imputer.rounds": 4, ...}`; raises ConfigError that names every bad key at once."""
        known, nested, complaints = known_keys(), {}, []
        for key, value in flat.items():
            if key in known:
                table, _, leaf = key.rpartition(".")
                (nested.setdefault(table, {}) if table else nested)[leaf] = value
            else:
                near = get_close_matches(key, known, n=1, cutoff=0.4)
                complaints.append(
                    f"unknown setting '{key}'" + (f" (did you mean '{near[0]}'?)" if near else "")
                )
        try:
            config = cls.model_validate(nested)
        except ValidationError as error:
            complaints += [_complaint(e, flat) for e in error.errors()]
        if complaints:
            raise ConfigError("; ".join(complaints))
        return config

    @property
    def named_sites(self) -> list[str]:
        """Sites that the run is limited to; none: whoever comes."""
        return _names(self.sites)

    @property
    def methods(self) -> list[str]:
        """`method`, and those `beside` it, each once."""
        return list(dict.fromkeys([self.method, *_names(self.beside)]))

    def same_training(self, other: RunConfig) -> list[str]:
        """Keys whose difference makes the two runs train differently."""
        place = {"output", "name", "resume", "federation", "sites"}
        place |= {"sites-timeout", "round-timeout", "min-sites"}
        mine, theirs = self.flat(), other.flat()
        return sorted(k for k in mine if k not in place and mine[k] != theirs[k])

    def flat(self) -> dict[str, Any]:
        """Back to Flower's flat form."""
        out = {}
        for key, value in self.model_dump(by_alias=True).items():
            out |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        return out


def _names(listed: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in listed.split(",") if name.strip()]


def known_keys() -> list[str]:
    """All valid keys in flat form."""
    keys = []
    for name, field in RunConfig.model_fields.items():
        alias, kind = name.replace("_", "-"), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += [f"{alias}.{leaf.replace('_', '-')}" for leaf in kind.model_fields]
        else:
            keys.append(alias)
    return keys


def _complaint(error: Any, flat: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"setting '{key}' is missing"
    return (
        f"setting '{key}': {error['msg'][0].lower()}{error['msg'][1:]}, got {flat.get(key, error['input'])!r}"
    )
