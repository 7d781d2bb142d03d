"""Sums of an evaluation of imputers on hidden samples, in standard deviations of the modality."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from condi_core.quantiles import quantiles_of_draws

LEVELS = torch.linspace(0.05, 0.95, 19)  # levels of the quantiles whose losses are averaged


def imputation_sums(truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None) -> np.ndarray:
    """Add up `imputation_sums_by_window` over windows: float64 (modality, 5)."""
    return imputation_sums_by_window(truth, point, hidden, draws).sum(0)


def imputation_sums_by_window(
    truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None
) -> np.ndarray:
    """Compute error sums over the hidden samples of each window and modality.

    Without draws the point counts as the distribution: its quantile loss is the absolute error, and its
    interval covers nothing.

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
    """Estimate quantiles of the distribution that `draws` (draw, ...) come from, within the range of draws.

    On average, a fraction k / (n + 1) of the distribution is below the k-th of n ordered draws. With this
    rule a 90 % interval covers 90 % from 19 draws on (Weibull 1939; type 6 of Hyndman and Fan 1996).

    Parameters
    ----------
    draws : Tensor (draw, ...)
    levels : Tensor (level,), between 0 and 1

    Returns
    -------
    Tensor (level, ...)
    """
    n = len(draws)
    positions = (levels.to(draws.device) * (n + 1) - 1) / max(n - 1, 1)
    return quantiles_of_draws(draws, positions.clamp(0, 1))
