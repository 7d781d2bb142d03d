"""Quantiles over draws, of any number of them.

`torch.quantile` gives the same numbers, but older releases of PyTorch refuse more than 16 million of them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quantiles_of_draws(draws: Tensor, positions: Tensor) -> Tensor:
    """Return quantiles over the leading axis, interpolated linearly between ordered draws.

    Parameters
    ----------
    draws : Tensor (draw, ...)
    positions : Tensor (level,), in [0, 1]: 0 is the smallest draw and 1 the largest

    Returns
    -------
    Tensor (level, ...)
    """
    ordered = draws.sort(0).values
    rank = positions.to(draws) * (len(draws) - 1)
    below = rank.floor()
    weight = (rank - below).view(-1, *[1] * (draws.ndim - 1))
    return torch.lerp(ordered[below.long()], ordered[rank.ceil().long()], weight)
