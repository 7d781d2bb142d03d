"""Scores of draws that depend on how the samples of a window belong together, as scores of cells do not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MIN_HIDDEN = 2  # hidden samples of a modality in a window, below which a summary is a sample


def energy_scores(truth: Tensor, target: Tensor, draws: Tensor) -> list[float]:
    """Return the energy score of each window with targets, by the root of their number.

    It is E|X - x| - E|X - X'| / 2 (Gneiting and Raftery 2007). A single draw is a point, which is scored by
    its distance.

    Parameters
    ----------
    truth : Tensor (batch, modality, patch, sample)
    target : bool Tensor of the same shape, what was hidden
    draws : Tensor (draw, batch, modality, patch, sample)
    """
    scores = []
    for x, hidden, completions in zip(truth, target, draws.transpose(0, 1), strict=True):
        if not hidden.any():
            continue
        cells, n = completions[:, hidden], len(completions)
        distance = torch.cdist(cells, x[hidden][None]).mean()
        spread = torch.cdist(cells, cells).sum() / max(n * (n - 1), 1)
        scores.append(float((distance - spread / 2) / hidden.sum().sqrt()))
    return scores


def summary_scores(truth: Tensor, target: Tensor, draws: Tensor) -> Tensor:
    """Return the CRPS of the mean, the smallest and the largest hidden sample of modalities in windows.

    Clinical scores read such summaries, as SAPS does the worst values of a day. They depend on the relation
    of samples in time: of independent samples the mean would be too certain and the extremes too far out.

    Parameters
    ----------
    truth : Tensor (batch, modality, patch, sample)
    target : bool Tensor of the same shape, what was hidden
    draws : Tensor (draw, batch, modality, patch, sample), at least two

    Returns
    -------
    Tensor (summary, 3), for every modality of a window with at least `MIN_HIDDEN` hidden samples
    """
    scored = target.flatten(2).sum(2) >= MIN_HIDDEN
    hidden = target.flatten(2)[scored]

    def summarise(x: Tensor) -> Tensor:
        """Return (..., 3, summary) of samples (..., summary, sample)."""
        smallest, largest = (reduce_hidden(x, hidden, fill) for fill in (torch.inf, -torch.inf))
        return torch.stack([(x * hidden).sum(-1) / hidden.sum(-1), smallest, largest], -2)

    x, n = summarise(truth.flatten(2)[scored]), len(draws)
    values = summarise(draws.flatten(3)[:, scored])
    ordered, rank = values.sort(0).values, torch.arange(n, dtype=x.dtype).view(-1, 1, 1)
    # The mean |X - X'| over pairs of different draws, from their order.
    spread = 2 * ((2 * rank - n + 1) * ordered).sum(0) / (n * (n - 1))
    return ((values - x).abs().mean(0) - spread / 2).T


def reduce_hidden(x: Tensor, hidden: Tensor, fill: float) -> Tensor:
    """Return the smallest hidden sample, with `fill` infinity, or the largest, with minus infinity."""
    reduce: Callable[..., Tensor] = torch.amin if fill > 0 else torch.amax
    return reduce(x.masked_fill(~hidden, fill), -1)
