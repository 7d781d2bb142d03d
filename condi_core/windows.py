"""The tensors that every model works on, and their standardisation.

A window is a grid of modality × patch × sample. `values` is float32 and `observed` is bool, both of shape
`(batch, modality, patch, sample)`. Where `observed` is False, `values` carries no information.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from condi_core.task.kind import TASK_KINDS, TaskKind

WINDOWS_PER_BLOCK = 16  # windows processed at once outside training
ROUNDING = 1e-13  # relative error of sums of squares, below which a variance is none
SMALLEST_STD = torch.finfo(torch.float32).tiny  # by which float32 can still be divided
MAX_SAMPLES = 10**7  # in a patch, and patches in a window, as in manifests


class RateGroup(NamedTuple):
    """Modalities with the same number of samples per patch, which therefore share a time axis.

    Computations per sample are done per group, so that a slow modality costs what its own samples cost and
    not what its padding to the rate of a fast modality would cost.

    Attributes
    ----------
    members : positions of these modalities among all modalities of the schema
    samples : samples per patch
    """

    members: tuple[int, ...]
    samples: int

    def select(self, x: Tensor) -> Tensor:
        """Return the part of `x` (batch, modality, patch, ..., sample) that belongs to the group.

        The padding of the last axis is removed.
        """
        if x.shape[-1] == self.samples and x.shape[1] == len(self.members):
            return x
        return x[:, list(self.members), ..., : self.samples]


class Schema(BaseModel):
    """What all sites of a federation share: modalities, patching, labels and the kind of task.

    Attributes
    ----------
    dataset : name of the data set
    modalities : name, unit and samples per patch of each modality
    patch_seconds : duration of a patch
    patches : patches per window
    labels : names of the labels
    task : the kind of task, a key of `TASK_KINDS`
    label_unit : unit of the labels of a regression
    label_range : lowest and highest plausible label of a regression, None for no bound
    covariates : properties of the patients, such as age
    description : text of the description of the data set on which the sites have agreed, or ""
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class Modality(BaseModel):
        """One signal of a window."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        name: str
        unit: str
        samples_per_patch: int = Field(ge=1, le=MAX_SAMPLES)
        range: tuple[float, float] | None = None  # plausible values

    class Covariate(BaseModel):
        """A number, or one of `categories`; `groups` are the bounds of the subgroups of a number."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        name: str
        unit: str = ""
        categories: tuple[str, ...] = ()
        groups: tuple[float, ...] = ()

    dataset: str
    modalities: tuple[Modality, ...] = Field(min_length=1)
    patch_seconds: float = Field(gt=0, allow_inf_nan=False)
    patches: int = Field(ge=1, le=MAX_SAMPLES)
    labels: tuple[str, ...]
    task: str
    label_unit: str = ""
    label_range: tuple[float | None, float | None] = (None, None)
    covariates: tuple[Covariate, ...] = ()
    description: str = ""

    @field_validator("task")
    @classmethod
    def _task_is_known(cls, task: str) -> str:
        if task not in TASK_KINDS:
            raise ValueError(f"expected one of {', '.join(TASK_KINDS)}, got '{task}'")
        return task

    @property
    def task_kind(self) -> TaskKind:
        """Loss, predictions, sums and metrics of the kind of task."""
        return TASK_KINDS[self.task]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(m.name for m in self.modalities)

    @property
    def samples(self) -> int:
        """Samples per patch of the fastest modality: the length of the last axis of every tensor."""
        return max(m.samples_per_patch for m in self.modalities)

    @property
    def rate_groups(self) -> tuple[RateGroup, ...]:
        """The modalities grouped by their samples per patch, fastest first."""
        rates = [m.samples_per_patch for m in self.modalities]
        return tuple(
            RateGroup(tuple(i for i, rate in enumerate(rates) if rate == samples), samples)
            for samples in sorted(set(rates), reverse=True)
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape `(modality, patch, sample)` of a window."""
        return len(self.modalities), self.patches, self.samples

    @property
    def patch_weights(self) -> np.ndarray:
        """Weight `(modality,)` of one sample of each modality in errors summed over modalities.

        It is one over the samples per patch, as in training: a patch of a slow modality counts as much as a
        patch of a fast one.
        """
        return np.array([1 / m.samples_per_patch for m in self.modalities])


class Windows(NamedTuple):
    """A batch of windows: `values` float32 and `observed` bool, both `(batch, modality, patch, sample)`."""

    values: Tensor
    observed: Tensor


def iterate_blocks(rows: np.ndarray, size: int = WINDOWS_PER_BLOCK) -> Iterator[np.ndarray]:
    """Yield `rows` in consecutive blocks of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def zero_unobserved(values: Tensor, observed: Tensor) -> Tensor:
    """Replace what was not observed by zeros, so that the values stored there cannot leak."""
    return torch.where(observed, values, 0.0)


def mean_and_std(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation, both (row,), from sums (row, 3): count, sum, sum of squares.

    A row that is constant up to rounding, and one without numbers, has a standard deviation of 1.
    """
    count, total, squares = sums.double().unbind(1)
    mean = total / count.clamp(min=1)
    power = squares / count.clamp(min=1)
    variance = power - mean**2
    constant = variance <= ROUNDING * power + SMALLEST_STD**2
    return mean, torch.where(constant, 1.0, variance.clamp(min=0).sqrt())


class Standardiser(torch.nn.Module):
    """Mean and standard deviation per modality, from sums that sites add up.

    Both are buffers, so that they are saved and sent with the model.

    Parameters
    ----------
    modalities : number of modalities
    """

    mean: Tensor
    std: Tensor

    def __init__(self, modalities: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(modalities))
        self.register_buffer("std", torch.ones(modalities))

    @staticmethod
    def sums(values: Tensor, observed: Tensor) -> Tensor:
        """Compute the sums that `fit` needs.

        Parameters
        ----------
        values, observed : Tensor (batch, modality, patch, sample), in source units

        Returns
        -------
        Tensor (modality, 3), float64: count, sum and sum of squares of the observed samples
        """
        x = zero_unobserved(values, observed).double()
        dims = (0, 2, 3)
        return torch.stack([observed.double().sum(dims), x.sum(dims), (x * x).sum(dims)], dim=1)

    def fit(self, sums: Tensor) -> None:
        """Set mean and standard deviation from added-up sums.

        A constant modality, and one that was never observed, keeps a standard deviation of 1.

        Parameters
        ----------
        sums : Tensor (modality, 3), as from `sums`, added over batches and sites
        """
        mean, std = mean_and_std(sums)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Standardise `values` (batch, modality, patch, sample); unobserved samples become 0, the mean."""
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        return zero_unobserved((values - mean) / std, observed)

    def inverse(self, standardised: Tensor) -> Tensor:
        """Convert standardised values (..., modality, patch, sample) back to source units."""
        return standardised * self.std[:, None, None] + self.mean[:, None, None]
