"""Sums of an evaluation of predicted numbers, and the metrics that are computed from them.

Added over sites, the sums are exactly those of the pooled data. All numbers are in the unit of the labels.
With several labels, each metric is the mean over the labels. This module does not need torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

COLUMNS_PER_LABEL = 3  # of predictions: mean, and the ends of the 90 % interval
# In this order. Labels above and below 0 are added up separately, so that no sum is negative.
REGRESSION_SUMS = ("count", "absolute", "squared", "positive", "negative", "squares", "covered")


def regression_sums(predictions: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Sum errors and labels.

    Parameters
    ----------
    predictions : (batch, label * 3), for each label the mean and both ends of its 90 % interval
    labels : (batch, label)

    Returns
    -------
    float64 (label, len(REGRESSION_SUMS)): number of windows; sums of absolute and squared errors, of labels
    above 0, of those below 0 without their sign, and of squared labels; number of labels inside the interval
    """
    parts = _parts_by_window(predictions, labels)
    return np.stack([part.sum(0, dtype=np.float64) for part in parts], axis=1)


def regression_sums_by_window(predictions: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Return what each window adds to the sums, float64 (batch, label, len(REGRESSION_SUMS))."""
    return np.stack(_parts_by_window(predictions, labels), axis=-1).astype(np.float64)


def _parts_by_window(predictions: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, ...]:
    """Return the parts (batch, label) of the sums in their order."""
    y = np.asarray(labels, np.float64)
    p = np.asarray(predictions, np.float64).reshape(*y.shape, COLUMNS_PER_LABEL)
    error, inside = p[..., 0] - y, (p[..., 1] <= y) & (y <= p[..., 2])
    return np.ones_like(y), np.abs(error), error**2, np.maximum(y, 0), np.maximum(-y, 0), y**2, inside


def mean_absolute_error(sums: np.ndarray) -> float:
    """Compute the mean absolute error; NaN without data."""
    return _mean_over_labels(sums[:, 1], sums[:, 0])


def root_mean_squared_error(sums: np.ndarray) -> float:
    """Compute the root of the mean squared error; NaN without data."""
    count, squared = sums[:, 0], sums[:, 2]
    return float(np.sqrt(squared / count).mean()) if count.all() and len(count) else float("nan")


def r_squared(sums: np.ndarray) -> float:
    """Compute R², 1 - squared errors / squared deviations of the labels from their mean.

    NaN without data, or where all labels are the same.
    """
    count, _, squared, positive, negative, squares, _ = sums.T
    if not count.all():
        return float("nan")
    deviations = squares - (positive - negative) ** 2 / count
    constant = deviations <= 1e-12 * squares
    return float("nan") if constant.any() else float((1 - squared / deviations).mean())


def coverage(sums: np.ndarray) -> float:
    """Compute the fraction of labels inside their 90 % intervals; NaN without data."""
    return _mean_over_labels(sums[:, -1], sums[:, 0])


def _mean_over_labels(parts: np.ndarray, count: np.ndarray) -> float:
    return float((parts / count).mean()) if count.all() and len(count) else float("nan")
