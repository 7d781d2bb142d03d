"""Combine the standardising sums of sites so that a false report of one site changes little."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MIN_SITES = 3  # fewer have no majority
MIN_SAMPLES = 30  # with fewer, the deviation of a site is too uncertain to count
DEVIATION_FROM_MAD = 1.4826  # of a normal distribution


def combine_sums(sums_of_sites: Iterable[np.ndarray]) -> np.ndarray:
    """Combine count, sum and sum of squares of sites, per modality.

    Where at least `MIN_SITES` sites have `MIN_SAMPLES` samples, the mean is the median of their means. The
    variance is the median of their variances, plus that between their means by the median absolute deviation.
    Elsewhere the sums are added up.

    Parameters
    ----------
    sums_of_sites : iterable of float64 array (modality, 3)

    Returns
    -------
    float64 array (modality, 3)
        Sums that give this mean and variance, with the total count.
    """
    sums = np.stack(list(sums_of_sites))
    combined = sums.sum(0)
    for row in range(combined.shape[0]):
        count, total, squares = sums[sums[:, row, 0] >= MIN_SAMPLES, row].T
        if len(count) < MIN_SITES:
            continue
        means = total / count
        mean = np.median(means)
        between = DEVIATION_FROM_MAD * np.median(np.abs(means - mean))
        variance = np.median(np.maximum(squares / count - means**2, 0)) + between**2
        number = combined[row, 0]
        combined[row] = number, number * mean, number * (variance + mean**2)
    return combined
