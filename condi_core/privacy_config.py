"""The settings of privacy, checked; see `condi_core.config`."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from condi_core.phase_config import NonNegativeInt, Settings
from condi_core.settings_text import parse_values

MIN_NOISE_MULTIPLIER = 1e-9  # epsilon is about 1e19 then
PATIENT_EPSILONS = (0.01, 1e4)  # rounded losses alone spend 0.001, and noise for more cannot be computed


class PrivacyConfig(Settings):
    """Settings of withheld counts and of differential privacy."""

    smallest_count: NonNegativeInt
    noise_multiplier: NonNegativeFloat
    clip_imputer: PositiveFloat
    clip_task: PositiveFloat
    delta: Annotated[float, Field(gt=0, lt=1)]
    patient_epsilon: NonNegativeFloat
    clip_patient: PositiveFloat
    value_ranges: str

    @field_validator("value_ranges")
    @classmethod
    def _ranges_are_from_low_to_high(cls, text: str) -> str:
        for name, limits in parse_values(text).items():
            low, colon, high = str(limits).partition(":")
            try:
                is_range = bool(colon) and -math.inf < float(low) < float(high) < math.inf
            except ValueError:
                is_range = False
            if not is_range:
                raise PydanticCustomError("ranges", f"the range of '{name}' must be LOW:HIGH, got '{limits}'")
        return text

    @field_validator("noise_multiplier")
    @classmethod
    def _noise_has_an_epsilon(cls, multiplier: float) -> float:
        if 0 < multiplier < MIN_NOISE_MULTIPLIER:
            raise PydanticCustomError("noise", f"must be 0 or at least {MIN_NOISE_MULTIPLIER:g}")
        return multiplier

    @field_validator("patient_epsilon")
    @classmethod
    def _epsilon_can_be_reached(cls, epsilon: float) -> float:
        low, high = PATIENT_EPSILONS
        if epsilon and not low <= epsilon <= high:
            raise PydanticCustomError("epsilon", f"must be 0 or from {low:g} to {high:g}")
        return epsilon

    @field_validator("patient_epsilon")
    @classmethod
    def _one_kind_of_privacy(cls, epsilon: float, info: ValidationInfo) -> float:
        if epsilon and info.data.get("noise_multiplier"):
            raise PydanticCustomError(
                "privacy",
                "cannot be combined with privacy.noise-multiplier, whose epsilon is of sites: set one to 0",
            )
        return epsilon
