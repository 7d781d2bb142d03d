"""Sums of an evaluation of imputers on hidden samples, in standard deviations of the modality."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = torch.linspace(0.05, 0.95, 19)  # of quantiles, whose losses are averaged


def imputation_sums(truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None) -> np.ndarray:
    """Sums over the hidden samples of each modality (modality, 5): `imputation_sums_by_window`, added up."""
    return imputation_sums_by_window(truth, point, hidden, draws).sum(0)


def imputation_sums_by_window(
    truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None
) -> np.ndarray:
    """Sums over the hidden samples of each window and modality.

    Without draws the point is the whole distribution: its quantile loss is the absolute error, and it covers
    nothing.

    Parameters
    ----------
    truth, point : (batch, modality, patch, sample), in standard deviations
    hidden : bool (batch, modality, patch, sample), the samples that are scored
    draws : (draw, batch, modality, patch, sample)

    Returns
    -------
    float64 (batch, modality, 5), the sums in the order of `catalogue.ERROR_SUMS`
    """
    error = torch.where(hidden, point - truth, 0.0).double()
    quantile, covered = error.abs(), torch.zeros_like(error)
    if draws is not None and len(draws):
        levels = LEVELS.to(truth.device).view(-1, 1, 1, 1, 1)
        over = truth - quantiles(draws)
        quantile = torch.where(hidden, 2 * torch.maximum(levels * over, (levels - 1) * over).mean(0), 0.0)
        covered = hidden & (over[0] >= 0) & (over[-1] <= 0)
    sums = [hidden, error.abs(), error.square(), quantile, covered]
    return torch.stack([s.double().sum((2, 3)) for s in sums], 2).cpu().numpy()


def quantiles(draws: Tensor, levels: Tensor = LEVELS) -> Tensor:
    """Quantiles at `levels` of the distribution that `draws` (draw, ...) come from, as far as draws reach.

    The k-th of n ordered draws is where a share k / (n + 1) of the distribution is below it on average, so
    that from 19 draws on a 90 % interval covers 90 % (Weibull 1939; type 6 of Hyndman and Fan 1996).
    """
    n = len(draws)
    positions = (levels.to(draws.device) * (n + 1) - 1) / max(n - 1, 1)
    return torch.quantile(draws, positions.clamp(0, 1), dim=0)
