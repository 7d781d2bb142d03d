"""Replicates of the sums of an evaluation over patients, from which intervals are read.

A site adds, to the sum of each of its patients, that sum times a standard normal number of the patient, which
is another one in each replicate (the multiplier bootstrap; van der Vaart and Wellner 1996, section 2.9). What
it sends, the sum over patients of these deviations, is normal with the second moments of its patients' sums,
and so says nothing about patients that these moments do not say. Histograms are reduced to a few numbers:
polynomials of the rank of a score, summed over all windows with a label, and over all without it.

This module does not need torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike

from condi_core.evaluation.classification import (
    BINS,
    DECISION_COUNTS,
    decision_counts_by_window,
    score_bins,
    score_histograms,
)
from condi_core.evaluation.regression import REGRESSION_SUMS, regression_sums_by_window

NUM_REPLICATES = 200
NUM_MOMENTS = 4  # of a histogram; more follow the shape of a curve more closely, and say more about patients
# Metrics are read near the sums and their differences are scaled up, because sums of few patients could
# otherwise fall below zero. This is the infinitesimal jackknife (Efron 1982, chapter 6).
STEP = 0.1

Sums = Mapping[str, np.ndarray]
_COLUMNS_PER_LABEL = len(DECISION_COUNTS) + 2 * NUM_MOMENTS


def add_up_deviations(deviations: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Add up over windows what each adds to sums, times the numbers of its patient.

    Parameters
    ----------
    deviations : (window, replicate), standard normal numbers of the patients
    sums : (window, column)

    Returns
    -------
    float32 (replicate, column)
    """
    return (deviations.T @ sums).astype(np.float32)


def classification_columns(labels: int) -> int:
    """Return the number of columns of the reduced sums of a classification."""
    return labels * _COLUMNS_PER_LABEL


def reduce_classification(
    probabilities: ArrayLike, labels: ArrayLike, decided: ArrayLike, exclusive: bool, total: np.ndarray
) -> np.ndarray:
    """Reduce what each window adds to the sums of a classification.

    Parameters
    ----------
    probabilities, labels, decided, exclusive
        As in `classification_sums`.
    total : (label, len(DECISION_COUNTS) + 2 * BINS)
        The sums of all windows of the site, whose ranks the polynomials are of.

    Returns
    -------
    float64 (batch, classification_columns(label))
    """
    y = np.asarray(labels) > 0.5
    counts = decision_counts_by_window(probabilities, labels, decided, exclusive)
    bins, parts = score_bins(probabilities), []
    for label, pair in enumerate(score_histograms(total)):
        moments = _rank_polynomials(*pair)[bins[:, label]]
        positive = y[:, label, None]
        parts.append(np.concatenate([counts[:, label], moments * positive, moments * ~positive], 1))
    return np.concatenate(parts, 1) if parts else np.zeros((len(y), 0))


def replicate_classification(total: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Add deviations of reduced sums to the sums of a site.

    A histogram is multiplied by the polynomial of the rank that gives it the moments of the replicate.

    Parameters
    ----------
    total : (label, len(DECISION_COUNTS) + 2 * BINS)
    deviations : (replicate, classification_columns(label))

    Returns
    -------
    (replicate, label, len(DECISION_COUNTS) + 2 * BINS)
    """
    deviations = deviations.reshape(len(deviations), len(total), _COLUMNS_PER_LABEL)
    result = np.repeat(total[None], len(deviations), 0)
    first = len(DECISION_COUNTS)
    result[:, :, :first] += deviations[:, :, :first]
    for label, pair in enumerate(score_histograms(total)):
        polynomials = _rank_polynomials(*pair)
        for position, histogram in enumerate(pair):
            moments = deviations[:, label, first + position * NUM_MOMENTS :][:, :NUM_MOMENTS]
            inverse = np.linalg.pinv(polynomials.T @ (histogram[:, None] * polynomials), hermitian=True)
            added = histogram * (moments @ inverse @ polynomials.T)
            result[:, label, first + position * BINS :][:, :BINS] += added
    return result


def regression_columns(labels: int) -> int:
    """Return the number of columns of the sums of a regression."""
    return labels * len(REGRESSION_SUMS)


def reduce_regression(predictions: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Return what each window adds to the sums of a regression, float64 (batch, column)."""
    return regression_sums_by_window(predictions, labels).reshape(len(np.asarray(labels)), -1)


def replicate_regression(total: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Add deviations (replicate, column) to the sums (label, sum) of a site."""
    return total + deviations.reshape(len(deviations), *total.shape)


def read_replicates(
    read: Callable[[Sums], Mapping[str, float]], total: Sums, replicates: Sums
) -> dict[str, np.ndarray]:
    """Read metrics from the replicates of sums.

    Parameters
    ----------
    read : callable
        Sums → metrics.
    total : mapping of str to array
        The sums of all sites.
    replicates : mapping of str to array (replicate, ...)
        The sums in each replicate.

    Returns
    -------
    dict of str to (replicate,)
        Each metric, NaN where the sums do not define it.
    """
    value, count = read(total), len(next(iter(replicates.values())))
    values: dict[str, np.ndarray] = {name: np.empty(count) for name in value}
    for i in range(count):
        near = {name: sums + STEP * (replicates[name][i] - sums) for name, sums in total.items()}
        for name, metric in read(near).items():
            values[name][i] = value[name] + (metric - value[name]) / STEP
    return values


def _rank_polynomials(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Return Legendre polynomials (BINS, NUM_MOMENTS) of the rank of a score; both classes count alike."""
    ranks = [(h.cumsum() - h / 2) / h.sum() for h in (positives, negatives) if h.sum()]
    rank = np.mean(ranks, axis=0) if ranks else np.full(len(positives), 0.5)
    return legendre.legvander(2 * rank - 1, NUM_MOMENTS - 1)
