"""The tensors every model works on, and their checks.

A window is a grid modality × patch × sample. `values` is float32 and `observed` bool, both
`(batch, modality, patch, sample)`; where `observed` is False, `values` carries no information.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor

from condi_core.task.kind import TASK_KINDS, TaskKind


class RateGroup(NamedTuple):
    """Modalities, by their place, that have the same number of samples per patch: they share a time axis.

    What is worked out per sample is worked out per group, so that a slow modality costs what its own
    samples cost, and not those of the padding that it has beside a fast one.
    """

    members: tuple[int, ...]
    samples: int

    def of(self, x: Tensor) -> Tensor:
        """The group's own part of `(batch, modality, patch, ..., sample)`, in all of these but padding."""
        if x.shape[-1] == self.samples and x.shape[1] == len(self.members):
            return x
        return x[:, list(self.members), ..., : self.samples]


class Schema(BaseModel):
    """What all sites of a federation share: modalities, patching, labels and the kind of task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class Modality(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        name: str
        unit: str
        samples_per_patch: int

    dataset: str
    modalities: tuple[Modality, ...]
    patch_seconds: float
    patches: int
    labels: tuple[str, ...]
    task: str  # a key of `TASK_KINDS`
    ordered: bool = False  # whether a label that is near the true one is less wrong

    @field_validator("task")
    @classmethod
    def _task_is_known(cls, task: str) -> str:
        if task not in TASK_KINDS:
            raise ValueError(f"expected one of {', '.join(TASK_KINDS)}, got '{task}'")
        return task

    @property
    def task_kind(self) -> TaskKind:
        return TASK_KINDS[self.task]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.modalities)

    @property
    def samples(self) -> int:
        """Samples per patch of the fastest modality: the last axis of every tensor."""
        return max(m.samples_per_patch for m in self.modalities)

    @property
    def rate_groups(self) -> tuple[RateGroup, ...]:
        """The modalities by their samples per patch, fastest first."""
        rates = [m.samples_per_patch for m in self.modalities]
        return tuple(
            RateGroup(tuple(i for i, rate in enumerate(rates) if rate == samples), samples)
            for samples in sorted(set(rates), reverse=True)
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(modality, patch, sample)` of a window."""
        return len(self.modalities), self.patches, self.samples


class Windows(NamedTuple):
    """A batch: `values` float32 and `observed` bool, both `(batch, modality, patch, sample)`."""

    values: Tensor
    observed: Tensor


def zero_unobserved(values: Tensor, observed: Tensor) -> Tensor:
    """`values` with zeros where nothing was observed: whatever stood there cannot leak."""
    return torch.where(observed, values, 0.0)


class Standardiser(torch.nn.Module):
    """Mean and standard deviation per modality, from sums that sites add up; travels with the model."""

    def __init__(self, modalities: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(modalities))
        self.register_buffer("std", torch.ones(modalities))

    @staticmethod
    def sums(values: Tensor, observed: Tensor) -> Tensor:
        """Count, sum and sum of squares per modality, float64 `(modality, 3)`, of observed samples."""
        x = zero_unobserved(values, observed).double()
        dims = (0, 2, 3)
        return torch.stack([observed.double().sum(dims), x.sum(dims), (x * x).sum(dims)], dim=1)

    def fit(self, sums: Tensor) -> None:
        """Set mean and deviation from added-up `sums`; a constant modality keeps a deviation of 1."""
        count, total, squares = sums.double().unbind(1)
        mean = total / count.clamp(min=1)
        variance = squares / count.clamp(min=1) - mean**2
        constant = variance <= 1e-12 * mean**2 + 1e-12
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, 1.0, variance.clamp(min=0).sqrt()))

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Standardised values, 0 (the mean) where nothing was observed."""
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        return zero_unobserved((values - mean) / std, observed)

    def inverse(self, standardised: Tensor) -> Tensor:
        return standardised * self.std[:, None, None] + self.mean[:, None, None]
