"""Estimates that need no trained network: interpolation in time, and regression at the same instant.

All take `x` and `observed` as `(batch, modality, time)` in standardised units, with zeros in `x` where
nothing was observed. `condi_core.imputer.gaussian_process` combines all times and modalities.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condi_core.windows import Schema, Standardiser

NOISE_AT_INSTANT = 1e-3  # variance of the measurement noise, as a fraction of a modality's variance


def linear_interpolation(x: Tensor, observed: Tensor) -> Tensor:
    """Interpolate linearly between observed samples.

    Before the first and after the last observed sample the nearest one is repeated; a modality without
    any is 0, its mean.

    Parameters
    ----------
    x, observed : Tensor (batch, modality, time)

    Returns
    -------
    Tensor (batch, modality, time)
    """
    length = x.shape[-1]
    time = torch.arange(length, device=x.device).expand_as(x)
    before = torch.where(observed, time, -1).cummax(-1).values
    after = torch.where(observed, time, length).flip(-1).cummin(-1).values.flip(-1)
    left = x.gather(-1, before.clamp(min=0))
    right = x.gather(-1, after.clamp(max=length - 1))
    left = torch.where(before < 0, right, left)
    fraction = (time - before) / (after - before).clamp(min=1)
    filled = torch.where((before < 0) | (after >= length), left, left + (right - left) * fraction)
    return torch.where(observed.any(-1, keepdim=True), filled, 0.0)


def last_value(x: Tensor, observed: Tensor) -> Tensor:
    """Carry the last observation forward; before the first one the result is 0, the mean."""
    time = torch.arange(x.shape[-1], device=x.device).expand_as(x)
    last = torch.where(observed, time, -1).cummax(-1).values
    return torch.where(last < 0, 0.0, x.gather(-1, last.clamp(min=0)))


def same_instant_regression(x: Tensor, observed: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Regress every sample on all modalities observed at the same instant.

    Parameters
    ----------
    x, observed : Tensor (batch, modality, time)
    covariance : Tensor (modality, modality) of the modalities at one instant

    Returns
    -------
    mean, variance : Tensor (batch, modality, time), conditional on what was observed at that instant
    """
    s = observed.transpose(1, 2).to(x.dtype)
    gram, to_observed = covariance_of_observed(s, covariance), covariance * s[..., None, :]
    gain = torch.linalg.solve(gram, to_observed.mT).mT
    mean = (gain @ x.transpose(1, 2)[..., None]).squeeze(-1)
    variance = covariance.diagonal() - (gain * to_observed).sum(-1)
    return mean.transpose(1, 2), variance.clamp(min=0).transpose(1, 2)


def covariance_of_observed(s: Tensor, covariance: Tensor) -> Tensor:
    """Return the covariance (..., modality, modality) of observed modalities, those where `s` is 1.

    Rows and columns of the others become those of the identity: one solve serves all patterns.
    """
    eye = torch.eye(s.shape[-1], device=s.device, dtype=s.dtype)
    return s[..., :, None] * (covariance + NOISE_AT_INSTANT * eye) * s[..., None, :] + torch.diag_embed(1 - s)


def interpolate_windows(
    schema: Schema,
    standardiser: Standardiser,
    values: Tensor,
    observed: Tensor,
    rule: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Complete windows in time by a rule such as `linear_interpolation`, at each modality's own rate.

    Parameters
    ----------
    schema : of the windows
    standardiser : of the model that reads them
    values, observed : Tensor (batch, modality, patch, sample), in source units
    rule : maps standardised `(x, observed)` (batch, modality, time) to the completed `x`

    Returns
    -------
    Tensor (batch, modality, patch, sample) in source units; observed samples are unchanged
    """
    x = standardiser(values, observed)
    filled = torch.zeros_like(x)
    for group in schema.rate_groups:
        y, mask = group.select(x), group.select(observed)
        completed = rule(y.flatten(2), mask.flatten(2)).view_as(y)
        filled[:, list(group.members), :, : group.samples] = completed
    return torch.where(observed, values, standardiser.inverse(filled))
