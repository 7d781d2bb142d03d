"""The reliability of scores: how often a label is true where it was predicted with a certain probability.

The few bins have about as many windows each, so that the rate of each bin is about as certain. This module
does not need torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WINDOWS_PER_BIN = 50  # about as many windows decide about the number of bins
MIN_BINS, MAX_BINS = 3, 10
NORMAL_QUANTILE = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class ReliabilityBin:
    """Windows of similar scores: their mean score, and how many of them have the label."""

    mean_score: float
    positives: float
    windows: float

    @property
    def observed_rate(self) -> float:
        return self.positives / self.windows

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the observed rate for independent windows (Wilson, JASA 22:209-212, 1927)."""
        n, p = self.windows, self.observed_rate
        z = NORMAL_QUANTILE
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
        return max(centre - half, 0.0), min(centre + half, 1.0)


def reliability(positives: np.ndarray, negatives: np.ndarray) -> list[ReliabilityBin]:
    """Put the windows of two score histograms into bins of about as many windows.

    A score counts as the middle of its bin in the histogram, which is at most half a thousandth off. Windows
    of equal scores are in one bin, so that there may be fewer and unequal ones.

    Parameters
    ----------
    positives, negatives : (BINS,), histograms of windows with and without the label

    Returns
    -------
    list of ReliabilityBin, from low to high scores; empty without windows
    """
    both = positives + negatives
    total = both.sum()
    if not total:
        return []
    count = int(np.clip(total // WINDOWS_PER_BIN, MIN_BINS, MAX_BINS))
    score = (np.arange(len(both)) + 0.5) / len(both)
    rank = (both.cumsum() - both / 2) / total  # of the window in the middle of equal scores
    member = np.minimum((rank * count).astype(int), count - 1)
    windows, scores, true = (
        np.bincount(member, weights, count) for weights in (both, both * score, positives)
    )
    return [
        ReliabilityBin(float(scores[i] / windows[i]), float(true[i]), float(windows[i]))
        for i in np.flatnonzero(windows)
    ]
