"""The labelled windows of a step of training."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TaskBatch(NamedTuple):
    """Labelled windows on the device of the model; a sample is available when it was observed or completed.

    Attributes
    ----------
    values : Tensor (batch, modality, patch, sample), in source units
    observed : bool Tensor of the same shape, what was measured
    available : bool Tensor of the same shape, what was measured or completed
    labels : Tensor (batch, label) of 0 and 1, or of numbers in their unit
    covariates : Tensor (batch, covariate), NaN where not recorded; None: nothing is recorded
    """

    values: Tensor
    observed: Tensor
    available: Tensor
    labels: Tensor
    covariates: Tensor | None = None
