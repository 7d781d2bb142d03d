"""Windows that are prepared for the imputer's network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from condi_core.imputer.closed_form import References


class ConditionedBatch(NamedTuple):
    """Standardised windows with their closed-form estimates; prepared once, used for many training steps.

    Attributes
    ----------
    x : Tensor (batch, modality, patch, sample): the truth where `conditioning` or `target`, else 0
    conditioning : bool Tensor, what the model may look at
    target : bool Tensor, what the model is trained or scored on: observed at the site, but hidden from it
    references : closed-form estimates from the conditioning samples
    neighbours : Tensor (batch, modality, patch, channel, sample), from `describe_neighbours`
    """

    x: Tensor
    conditioning: Tensor
    target: Tensor
    references: References
    neighbours: Tensor

    def select(self, windows: Tensor | slice, patches: slice) -> ConditionedBatch:
        """Select some windows of the batch, and a range of their patches."""
        return self._map(lambda tensor: tensor[windows, :, patches])

    def to(self, device: torch.device | str) -> ConditionedBatch:
        """Move all tensors to a device."""
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, transform: Callable[[Tensor], Tensor]) -> ConditionedBatch:
        x, conditioning, target, references, neighbours = self
        return ConditionedBatch(
            transform(x),
            transform(conditioning),
            transform(target),
            References(*map(transform, references)),
            transform(neighbours),
        )

    @staticmethod
    def concatenate(batches: Sequence[ConditionedBatch]) -> ConditionedBatch:
        """Join batches along the batch axis."""
        x, conditioning, target, references, neighbours = zip(*batches, strict=True)
        joined = References(*map(torch.cat, zip(*references, strict=True)))
        return ConditionedBatch(
            torch.cat(x), torch.cat(conditioning), torch.cat(target), joined, torch.cat(neighbours)
        )
