"""The definition of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from condi_core.averaging import Aggregator, average
from condi_core.config import TaskConfig
from condi_core.imputer.imputer import DiffusionImputer, Generators
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

Scope = Literal["federated", "local", "centralised"]

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
    """

    name: str
    summary: str
    label: str = ""
    imputer_training: Literal["none", "relation", "diffusion"] = "none"
    complete: Complete | None = None
    interpolate: Interpolate | None = None
    model: Callable[[Schema, TaskConfig], TaskModel] = TaskModel
    penalty: Penalty | None = None
    combine: Aggregator = average
    contrasts_windows: bool = False
    samples_in_loss: bool = False
    scope: Scope = "federated"

    @property
    def needs_individual_updates(self) -> bool:
        """Whether the next state cannot be computed from the sum of the sites' updates."""
        return self.combine is not average or self.scope != "federated"
