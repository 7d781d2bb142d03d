"""Sums of an evaluation of label probabilities, and the metrics that are computed from them.

Sites send counts of decisions and score histograms per label. Added over sites they are exactly the sums of
the pooled data, so no metric here is an average of averages. This module does not need torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

BINS = 1000  # bins of a score histogram; AUROC is exact up to ties within a thousandth
DECISION_COUNTS = ("true positives", "false positives", "false negatives", "true negatives", "distance")


def classification_sums(
    probabilities: ArrayLike, labels: ArrayLike, decided: ArrayLike, exclusive: bool = False
) -> np.ndarray:
    """Count decisions per label, and the scores of windows with and without it in histograms.

    Parameters
    ----------
    probabilities : (batch, label)
    labels : 0/1 (batch, label)
    decided : bool (batch, label), the labels that each window is given
    exclusive : whether each window has exactly one label and is given exactly one. Only then `distance` is
        counted: where a label is true, by how many places the decided label is away from it.

    Returns
    -------
    float64 (label, len(DECISION_COUNTS) + 2 * BINS): the counts, then the histogram of windows with the
    label, then that of windows without it
    """
    y = np.asarray(labels) > 0.5
    bins = score_bins(probabilities)
    out = np.zeros((y.shape[1], len(DECISION_COUNTS) + 2 * BINS))
    counts = decision_counts_by_window(probabilities, labels, decided, exclusive)
    out[:, : len(DECISION_COUNTS)] = counts.sum(0)
    for label in range(y.shape[1]):
        positives = np.bincount(bins[y[:, label], label], minlength=BINS)
        negatives = np.bincount(bins[~y[:, label], label], minlength=BINS)
        out[label, len(DECISION_COUNTS) :] = np.concatenate([positives, negatives])
    return out


def decision_counts_by_window(
    probabilities: ArrayLike, labels: ArrayLike, decided: ArrayLike, exclusive: bool = False
) -> np.ndarray:
    """Return what each window adds to the decision counts, float64 (batch, label, len(DECISION_COUNTS))."""
    p, y, d = np.asarray(probabilities), np.asarray(labels) > 0.5, np.asarray(decided)
    steps = np.abs(d.argmax(1)[:, None] - np.arange(p.shape[1]))
    distance = y * steps if exclusive else np.zeros(y.shape)
    return np.stack([d & y, d & ~y, ~d & y, ~d & ~y, distance], 2).astype(np.float64)


def score_bins(probabilities: ArrayLike) -> np.ndarray:
    """Return the bin of each probability in a score histogram."""
    return np.minimum((np.asarray(probabilities, np.float64) * BINS).astype(int), BINS - 1)


def confusion_matrix(decided: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Count windows by their one true label (row) and the one that was decided for (column)."""
    rows, columns = np.asarray(labels).argmax(1), np.asarray(decided).argmax(1)
    out = np.zeros((np.shape(labels)[1],) * 2)
    np.add.at(out, (rows, columns), 1)
    return out


def score_histograms(sums: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each label the score histograms of windows with it and without it."""
    return [(row[:BINS], row[BINS:]) for row in sums[:, len(DECISION_COUNTS) :]]


def roc(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the false and true positive rates of the ROC curve, as the threshold falls."""
    rates = [np.concatenate([[0.0], h[::-1].cumsum()]) / max(h.sum(), 1) for h in (negatives, positives)]
    return rates[0], rates[1]


def precision_recall(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute recall and precision as the threshold falls, as the steps whose area is the AUPRC."""
    right, wrong = positives[::-1].cumsum(), negatives[::-1].cumsum()
    reached = np.flatnonzero(right)  # before, the recall is 0 and no step begins
    precision = right[reached] / (right + wrong)[reached]
    recall = np.concatenate([[0.0], right[reached] / max(positives.sum(), 1)])
    return np.repeat(recall, 2)[1:-1], np.repeat(precision, 2)


def calibration_error(positives: np.ndarray, negatives: np.ndarray, bins: int = 10) -> float:
    """Compute the expected calibration error (Naeini et al. 2015) in equal-width bins; NaN without windows.

    A score counts as the middle of its bin in the histogram, which is at most half a thousandth off.
    """
    score = (np.arange(len(positives)) + 0.5) / len(positives)
    both = positives + negatives
    excess = (both * score - positives).reshape(bins, -1).sum(1)  # expected positives minus observed ones
    return float(np.abs(excess).sum() / both.sum()) if both.sum() else float("nan")


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Compute the area under the ROC curve, ties counted half; NaN when a class is empty."""
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return float("nan")
    below = np.concatenate([[0], negatives.cumsum()[:-1]])
    return float((positives * (below + negatives / 2)).sum() / pairs)


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Compute the area under the stepwise precision-recall curve; NaN without positives."""
    if not positives.sum():
        return float("nan")
    right, wrong = positives[::-1].cumsum(), negatives[::-1].cumsum()
    precision = right / np.where(right + wrong > 0, right + wrong, 1)
    return float((positives[::-1] * precision).sum() / positives.sum())


def macro_auroc(sums: np.ndarray) -> float:
    """Compute the mean AUROC of the labels that have both classes; NaN without any."""
    return _mean(auroc(*pair) for pair in score_histograms(sums))


def macro_average_precision(sums: np.ndarray) -> float:
    """Compute the mean AUPRC of the labels that have positives; NaN without any."""
    return _mean(average_precision(*pair) for pair in score_histograms(sums))


def event_average_precision(sums: np.ndarray) -> float:
    """Compute `macro_average_precision`; of two exclusive labels only the second, the event, counts."""
    return macro_average_precision(sums[1:] if len(sums) == 2 else sums)


def macro_f1(sums: np.ndarray) -> float:
    """Compute the mean F1 of the labels that have positives; NaN without any."""
    tp, fp, fn = sums[:, :3].T
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return _mean(f1[tp + fn > 0])


def decision_accuracy(sums: np.ndarray) -> float:
    """Compute the fraction of all decisions about a label that are right; NaN without data."""
    tp, fp, fn, tn = sums[:, :4].T
    return _quotient(tp + tn, tp + fp + fn + tn)


def window_accuracy(sums: np.ndarray) -> float:
    """Compute the fraction of windows whose decided label is the true one; NaN without data."""
    tp, _, fn, _ = sums[:, :4].T
    return _quotient(tp, tp + fn)


def kappa(sums: np.ndarray) -> float:
    """Compute Cohen's kappa of exclusive labels; NaN without data, or if all are of one label.

    It is 1 - observed disagreement / disagreement of independent decisions of the same margins (Cohen 1960).
    """
    observed = sums[:, DECISION_COUNTS.index("false negatives")].sum()
    return _agreement_beyond_chance(sums, observed, lambda steps: steps > 0)


def weighted_kappa(sums: np.ndarray) -> float:
    """Compute `kappa` of ordered labels, in which a disagreement weighs as many steps as it is away."""
    observed = sums[:, DECISION_COUNTS.index("distance")].sum()
    return _agreement_beyond_chance(sums, observed, lambda steps: steps)  # Cohen 1968


def _agreement_beyond_chance(
    sums: np.ndarray, observed: float, weigh: Callable[[np.ndarray], np.ndarray]
) -> float:
    tp, fp, fn = sums[:, :3].T
    true, decided, position = tp + fn, tp + fp, np.arange(len(sums))
    by_chance = true @ weigh(np.abs(position[:, None] - position)) @ decided / max(true.sum(), 1)
    return float(1 - observed / by_chance) if by_chance else float("nan")


def mean_deviation(sums: np.ndarray) -> float:
    """Compute by how many steps the decided label is away from the true one on average; NaN without data."""
    tp, _, fn, _, distance = sums[:, : len(DECISION_COUNTS)].T
    return _quotient(distance, tp + fn)


def mean_calibration_error(sums: np.ndarray) -> float:
    """Compute the mean expected calibration error over all labels."""
    return float(np.mean([calibration_error(*pair) for pair in score_histograms(sums)]))


def _mean(values: Iterable[float]) -> float:
    """Compute the mean of the values that are not NaN; NaN without any."""
    numbers = [v for v in values if not np.isnan(v)]
    return float(np.mean(numbers)) if numbers else float("nan")


def _quotient(parts: np.ndarray, wholes: np.ndarray) -> float:
    return float(parts.sum() / wholes.sum()) if wholes.any() else float("nan")
