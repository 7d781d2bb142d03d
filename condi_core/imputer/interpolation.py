"""Closed-form references in standardised units: what can be known without a network.

The last value and linear interpolation in time, and least squares from the other modalities at the same
instant; what follows from all times and modalities together is in `posterior`. All take `x` and `seen` as
`(batch, modality, time)`, zeros where not seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condi_core.windows import Schema, Standardiser


def linear_interpolation(x: Tensor, seen: Tensor) -> Tensor:
    """Straight lines between seen samples, the nearest one beyond the ends, 0 where nothing is seen."""
    length = x.shape[-1]
    time = torch.arange(length, device=x.device).expand_as(x)
    before = torch.where(seen, time, -1).cummax(-1).values
    after = torch.where(seen, time, length).flip(-1).cummin(-1).values.flip(-1)
    left = x.gather(-1, before.clamp(min=0))
    right = x.gather(-1, after.clamp(max=length - 1))
    left = torch.where(before < 0, right, left)
    right = torch.where(after >= length, left, right)
    share = (time - before) / (after - before).clamp(min=1)
    filled = torch.where((before < 0) | (after >= length), left, left + (right - left) * share)
    return torch.where(seen.any(-1, keepdim=True), filled, 0.0)


def last_value(x: Tensor, seen: Tensor) -> Tensor:
    """The last seen value carried forward, 0 before the first."""
    time = torch.arange(x.shape[-1], device=x.device).expand_as(x)
    last = torch.where(seen, time, -1).cummax(-1).values
    return torch.where(last < 0, 0.0, x.gather(-1, last.clamp(min=0)))


def same_instant(x: Tensor, seen: Tensor, covariance: Tensor, noise: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Conditional mean and variance of every sample given all modalities seen at that instant."""
    # Rows and columns of unseen modalities become those of the identity: one solve for all patterns.
    s = seen.transpose(1, 2).to(x.dtype)
    eye = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    gram = s[..., :, None] * (covariance + noise * eye) * s[..., None, :] + torch.diag_embed(1 - s)
    to_seen = covariance * s[..., None, :]
    gain = torch.linalg.solve(gram, to_seen.mT).mT
    mean = (gain @ x.transpose(1, 2)[..., None]).squeeze(-1)
    variance = covariance.diagonal() - (gain * to_seen).sum(-1)
    return mean.transpose(1, 2), variance.clamp(min=0).transpose(1, 2)


def interpolated(
    schema: Schema,
    standardiser: Standardiser,
    values: Tensor,
    observed: Tensor,
    rule: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Windows (batch, modality, patch, sample) in source units, completed in time by such a rule."""
    x = standardiser(values, observed)
    filled = torch.zeros_like(x)
    for group in schema.rate_groups:
        y, seen = group.of(x), group.of(observed)
        completed = rule(y.flatten(2), seen.flatten(2)).view_as(y)
        filled[:, list(group.members), :, : group.samples] = completed
    return torch.where(observed, values, standardiser.inverse(filled))
