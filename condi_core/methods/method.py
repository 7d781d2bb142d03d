"""What a method is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from condi_core.averaging import Aggregator, average
from condi_core.config import TaskConfig
from condi_core.imputer.imputer import Imputer
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

# (imputer, values, observed, draws, generator) → completed values (draw, batch, modality, patch, sample)
Fill = Callable[[Imputer, Tensor, Tensor, int, torch.Generator], Tensor]

# (x, seen) (batch, modality, time), standardised → completed x
Interpolate = Callable[[Tensor, Tensor], Tensor]

# (model, its weights when the round began) → what is added to the loss of every step
Penalty = Callable[[nn.Module, dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Method:
    """A name for `method = "..."`, one line for tables, and what is done with holes and with weights.

    `phase1` says what of the imputer is trained for `fill`; without it, `interpolate` completes windows, or
    nothing does and the model reads zeros and the mask. `model` makes the task model, a `TaskModel`,
    `penalty` is added to its loss, and `combine` makes the next state of what sites have trained.
    `sites` says who trains with whom: all `together`, each `alone`, or `pooled`, with all data in one
    place; it goes for both phases.
    """

    name: str
    summary: str
    phase1: Literal["nothing", "relation", "diffusion"] = "nothing"
    fill: Fill | None = None
    interpolate: Interpolate | None = None
    model: Callable[[Schema, TaskConfig], TaskModel] = TaskModel
    penalty: Penalty | None = None
    combine: Aggregator = average
    sites: Literal["together", "alone", "pooled"] = "together"

    @property
    def needs_single_updates(self) -> bool:
        """Whether more of sites must be known than the sum of what they have trained."""
        return self.combine is not average or self.sites != "together"
