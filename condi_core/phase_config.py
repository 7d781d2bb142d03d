"""The settings of local training in both phases, checked; see `condi_core.config`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from condi_core.settings_text import parse_values

MAX_INTEGER = 2**63 - 1  # of Flower's messages
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
PositiveInt = Annotated[int, Field(ge=1, le=MAX_INTEGER)]


class Settings(BaseModel):
    """Settings with names in dashes, which are checked strictly and cannot change."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=lambda name: name.replace("_", "-"),
    )


class TrainingConfig(Settings):
    """Settings of local training, which both phases have."""

    rounds: PositiveInt
    steps: PositiveInt
    batch: PositiveInt
    optimizer: Literal["adamw", "sgd"]
    learning_rate: PositiveFloat
    width: PositiveInt
    heads: PositiveInt
    blocks: PositiveInt
    pair_width: PositiveInt

    @field_validator("heads")
    @classmethod
    def _heads_share_the_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads * 2)
        if width % heads or width % 2:
            raise PydanticCustomError("heads", f"must divide the width, an even number, here {width}")
        return heads


class ImputerConfig(TrainingConfig):
    """Settings of phase 1, which trains the imputer."""

    relation_rounds: NonNegativeInt
    crop: NonNegativeInt
    token_patches: NonNegativeInt
    sampling_steps: PositiveInt
    samples: NonNegativeInt


class TaskConfig(TrainingConfig):
    """Settings of phase 2, which trains the task model."""

    learning_rate_by_method: str
    completions: NonNegativeInt
    covariates: bool

    @field_validator("learning_rate_by_method")
    @classmethod
    def _rates_are_positive_numbers(cls, text: str) -> str:
        for method, rate in parse_values(text).items():
            if isinstance(rate, str) or not 0 < rate < math.inf:
                raise PydanticCustomError("rates", f"the rate of '{method}' must be a number above 0")
        return text

    def learning_rate_for(self, method: str) -> float:
        """Return the learning rate of phase 2 for a method."""
        return float(parse_values(self.learning_rate_by_method).get(method, self.learning_rate))
