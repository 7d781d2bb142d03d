"""The definition of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, validate_call
from torch import Tensor, nn

from condi_core.averaging import Aggregator, average
from condi_core.config import ConfigError, ImputerConfig, TaskConfig
from condi_core.imputer.imputer import DiffusionImputer, Generators
from condi_core.settings_text import describe_error, suggest_name
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

Scope = Literal["federated", "local", "centralised"]

# Types of options, with their bounds.
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**6)]

# (imputer, values, observed, draws, one generator or one per window)
# → completed values (draw, batch, modality, patch, sample)
Complete = Callable[[DiffusionImputer, Tensor, Tensor, int, Generators], Tensor]

# (x, observed), both (batch, modality, time), x standardised → completed x
Interpolate = Callable[[Tensor, Tensor], Tensor]

# (model, its weights at the start of the round) → term that is added to the loss of every step
Penalty = Callable[[nn.Module, dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Method:
    """How windows are completed, and how the task model is trained and averaged.

    Attributes
    ----------
    name : the value of the settings `method` and `compare-with`
    summary : a few words on how it treats what is missing, or how it trains
    label : its name in tables and figures of a paper; without one, `name`
    imputer_training : what phase 1 trains of the imputer for `complete`: nothing ("none"), the cross-spectrum
        between modalities ("relation"), or also the diffusion model ("diffusion")
    imputer : makes the imputer that phase 1 trains: a subclass of `DiffusionImputer`
    complete : completes windows by the imputer
    interpolate : completes windows without an imputer. Without `complete` and `interpolate` the task model
        reads zeros where nothing was observed, and the mask.
    model : makes the task model
    penalty : term that is added to the loss of the task model
    combine : computes the next state of a model from the sites' updates
    contrasts_windows : whether the loss compares the windows of a batch, so that a patient has no gradient of
        their own
    samples_in_loss : whether the loss draws random numbers, which gradients of single patients cannot
    scope : who trains together, in both phases: all sites ("federated"), each site separately ("local"), or
        one node with the data of all sites ("centralised")
    make : makes the method from its options, keyword parameters with types that state their bounds, and with
        the defaults of this method; None for a method without options
    """

    name: str
    summary: str
    label: str = ""
    imputer_training: Literal["none", "relation", "diffusion"] = "none"
    imputer: Callable[[Schema, ImputerConfig], DiffusionImputer] = DiffusionImputer
    complete: Complete | None = None
    interpolate: Interpolate | None = None
    model: Callable[[Schema, TaskConfig], TaskModel] = TaskModel
    penalty: Penalty | None = None
    combine: Aggregator = average
    contrasts_windows: bool = False
    samples_in_loss: bool = False
    scope: Scope = "federated"
    make: Callable[..., Method] | None = None

    def __post_init__(self) -> None:
        if (self.complete is not None) != (self.imputer_training != "none"):
            raise ValueError("a Method has `complete` if and only if `imputer_training` is not 'none'")

    @property
    def options(self) -> dict[str, int | float]:
        """Names of the options, as the setting `method-options` has them, with their defaults."""
        parameters = signature(self.make).parameters.values() if self.make else ()
        return {parameter.name.replace("_", "-"): parameter.default for parameter in parameters}

    def with_options(self, options: Mapping[str, Any]) -> Method:
        """Return the method with other values of some options.

        Raises
        ------
        ConfigError
            An option is unknown or out of bounds.
        """
        if not options:
            return self
        known = self.options
        if self.make is None:
            raise ConfigError(f"method '{self.name}' has no options, got '{next(iter(options))}'")
        if unknown := [name for name in options if name not in known]:
            raise ConfigError(
                *(f"method '{self.name}' has no option '{n}'{suggest_name(n, known, True)}" for n in unknown)
            )
        make = validate_call(config=ConfigDict(strict=True, allow_inf_nan=False))(self.make)
        try:
            return make(**{name.replace("-", "_"): value for name, value in options.items()})
        except ValidationError as error:
            noun, errors = f"method '{self.name}', option", error.errors()
            dashed = [{**e, "loc": (str(e["loc"][0]).replace("_", "-"),)} for e in errors]
            raise ConfigError(*(describe_error(e, noun) for e in dashed)) from None

    @property
    def needs_individual_updates(self) -> bool:
        """Whether the next state cannot be computed from the sum of the sites' updates."""
        return self.combine is not average or self.scope != "federated"
