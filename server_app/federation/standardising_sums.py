"""Combine the standardising sums of sites so that a false report of one site changes little."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MIN_SITES = 3  # fewer have no majority
MIN_SAMPLES = 30  # with fewer, the deviation of a site is too uncertain to count
DEVIATION_FROM_MAD = 1.4826  # of a normal distribution
CREDIBLE_FACTOR = 10.0  # by which a site may differ from the majority, in mean and in deviation


def combine_sums(sums_of_sites: Iterable[np.ndarray]) -> np.ndarray:
    """Combine count, sum and sum of squares of sites, per modality.

    Where at least `MIN_SITES` sites have `MIN_SAMPLES` samples, the mean is the median of their means. The
    variance is the median of their variances, plus that between their means by the median absolute deviation.
    Elsewhere the sums are added up, without those of sites that are far from the median in another modality.

    Parameters
    ----------
    sums_of_sites : iterable of float64 array (modality, 3)

    Returns
    -------
    float64 array (modality, 3)
        Sums that give this mean and variance, with the total count.
    """
    sums = np.stack(list(sums_of_sites))
    combined, credible = sums.sum(0), np.ones(len(sums), bool)
    is_large = sums[:, :, 0] >= MIN_SAMPLES
    has_majority = is_large.sum(0) >= MIN_SITES
    for row in np.flatnonzero(has_majority):
        large = is_large[:, row]
        count, total, squares = sums[large, row].T
        means = total / count
        variances = np.maximum(squares / count - means**2, 0)
        mean = np.median(means)
        between = DEVIATION_FROM_MAD * np.median(np.abs(means - mean))
        variance = np.median(variances) + between**2
        number = combined[row, 0]
        combined[row] = number, number * mean, number * (variance + mean**2)
        usual = np.abs(means - mean) <= CREDIBLE_FACTOR * np.sqrt(variance)
        usual &= variances <= CREDIBLE_FACTOR**2 * variance
        usual &= variances * CREDIBLE_FACTOR**2 >= variance
        credible[large] &= usual
    for row in np.flatnonzero(~has_majority):
        counted = credible & (sums[:, row, 0] > 0)
        if counted.any():
            combined[row] = sums[counted, row].sum(0)
    return combined
