"""What a method is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from condi_core.imputer.imputer import Imputer

# (imputer, values, observed, draws, generator) → completed values (draw, batch, modality, patch, sample)
Fill = Callable[[Imputer, Tensor, Tensor, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Method:
    """A name for `method = "..."`, one line for tables, and how a window is completed.

    Without `fill` nothing is completed, phase 1 is skipped and the task model reads zeros and the mask.
    """

    name: str
    summary: str
    fill: Fill | None
