"""Metrics as sums that add up: what sites send, and what the coordinator reads from the total.

Imputation: per method the count, absolute and squared error, and for draws the quantile loss and the
cells inside the 90 % interval, all on hidden cells in standard deviations of the modality.
Task: counts of decisions and score histograms per label. Added over sites they are exactly the sums of the
pooled data, so no metric here is an average of averages.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = torch.linspace(0.05, 0.95, 19)
BINS = 1000  # of a score histogram: AUROC is exact up to ties within a thousandth
# Holes that every imputer is scored on, as arguments for the function that makes them, and by whom.
EVALUATED_MISSINGNESS: dict[str, dict[str, float]] = {
    "points 50 %": {"points": 0.5},
    "gaps 50 %": {"gaps": 0.5},
    "third absent": {"modality_by_window": 1 / 3},
}
SCORED_METHODS = ("mean", "linear", "estimate", "condi")  # and "condi, draws" where there are draws
DECISION_COUNTS = ("true positives", "false positives", "false negatives", "true negatives", "distance")
ERROR_SUMS = ("count", "absolute", "squared", "quantile", "covered")  # the sums, in this order


def scored_keys(samples: int) -> list[str]:
    """Names of the sums of an imputer's evaluation, with or without draws."""
    methods = SCORED_METHODS + (("condi, draws",) if samples else ())
    return [f"{kind}/{method}" for kind in EVALUATED_MISSINGNESS for method in methods]


def imputation_sums(truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None) -> np.ndarray:
    """Sums over the hidden cells of each modality, `(modality, 5)`: those of `imputation_sums_by_window`, added up."""
    return imputation_sums_by_window(truth, point, hidden, draws).sum(0)


def imputation_sums_by_window(
    truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None
) -> np.ndarray:
    """Sums over the hidden cells of each window and modality, `(batch, modality, 5)`, as in IMPUTATION.

    Tensors are `(batch, modality, patch, sample)`, `draws` has one more axis in front. Without draws the
    point is the whole distribution: its quantile loss is the absolute error, and it covers nothing.
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
    place = (levels.to(draws.device) * (n + 1) - 1) / max(n - 1, 1)
    return torch.quantile(draws, place.clamp(0, 1), dim=0)


def imputation_metrics(sums: np.ndarray) -> dict[str, float]:
    """MAE, RMSE and CRPS in standard deviations, coverage of the 90 % interval; NaN without cells.

    `sums` ordered as IMPUTATION: of one modality, or added over those of interest.
    """
    if not sums[0]:
        return dict.fromkeys(("mae", "rmse", "crps", "coverage"), float("nan"))
    _, absolute, squared, quantile, covered = np.asarray(sums, float) / sums[0]
    return {"mae": absolute, "rmse": squared**0.5, "crps": quantile, "coverage": covered}


def classification_sums(
    probabilities: Tensor, labels: Tensor, decided: Tensor, exclusive: bool = False
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
    float64 (label, len(DECISION_COUNTS) + 2 * BINS): the counts, then the histogram of windows with the label,
    then that of windows without it
    """
    p, y, d = probabilities.double().numpy(), labels.numpy() > 0.5, decided.numpy()
    steps = np.abs(d.argmax(1)[:, None] - np.arange(p.shape[1]))
    distance = y * steps if exclusive else np.zeros_like(p)
    counts = [d & y, d & ~y, ~d & y, ~d & ~y, distance]
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    out = np.zeros((y.shape[1], len(DECISION_COUNTS) + 2 * BINS))
    out[:, : len(DECISION_COUNTS)] = np.stack([c.sum(0) for c in counts], 1)
    for label in range(y.shape[1]):
        positives = np.bincount(bins[y[:, label], label], minlength=BINS)
        negatives = np.bincount(bins[~y[:, label], label], minlength=BINS)
        out[label, len(DECISION_COUNTS) :] = np.concatenate([positives, negatives])
    return out


def confusion_matrix(decided: Tensor, labels: Tensor) -> np.ndarray:
    """Count windows by their one true label (row) and the one that was decided for (column)."""
    rows, columns = labels.argmax(1).numpy(), decided.int().argmax(1).numpy()
    out = np.zeros((labels.shape[1],) * 2)
    np.add.at(out, (rows, columns), 1)
    return out


def score_histograms(sums: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each label the score histograms of windows with it and without it, of `classification_sums`."""
    return [(row[:BINS], row[BINS:]) for row in sums[:, len(DECISION_COUNTS) :]]


def roc(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ROC curve from two score histograms: false and true positive rate as the threshold falls."""
    rates = [np.concatenate([[0.0], h[::-1].cumsum()]) / max(h.sum(), 1) for h in (negatives, positives)]
    return rates[0], rates[1]


def calibration(positives: np.ndarray, negatives: np.ndarray, bins: int = 10) -> np.ndarray:
    """Reliability of scores from two score histograms `(bin, 3)`: mean score, share of positives, windows.

    Bins of equal width; of an empty one the first two are NaN. A score counts as the middle of its bin in
    the histogram, which is half a thousandth off at most.
    """
    score = (np.arange(len(positives)) + 0.5) / len(positives)
    both = positives + negatives
    found, total, true = (x.reshape(bins, -1).sum(1) for x in (both, both * score, positives))
    with np.errstate(invalid="ignore"):
        return np.stack([total / found, true / found, found], 1)


def calibration_error(positives: np.ndarray, negatives: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015) of `calibration`'s bins; NaN without windows."""
    mean, share, found = calibration(positives, negatives, bins).T
    return float(np.nansum(found * np.abs(mean - share)) / found.sum()) if found.sum() else float("nan")


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the ROC curve from two score histograms, ties counted half; NaN when a class is empty."""
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return float("nan")
    below = np.concatenate([[0], negatives.cumsum()[:-1]])
    return float((positives * (below + negatives / 2)).sum() / pairs)


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the precision-recall curve in steps, from two score histograms; NaN without positives."""
    if not positives.sum():
        return float("nan")
    found, wrong = positives[::-1].cumsum(), negatives[::-1].cumsum()
    precision = found / np.maximum(found + wrong, 1)
    return float((positives[::-1] * precision).sum() / positives.sum())


def kappa(sums: np.ndarray, ordered: bool) -> float:
    """Cohen's kappa of a single-label task, with linear weights where labels have an order; NaN without data.

    1 - observed disagreement / that of independent decisions with the same margins (Cohen 1960, 1968).
    """
    tp, fp, fn, _, distance = sums[:, : len(DECISION_COUNTS)].T
    true, decided, place = tp + fn, tp + fp, np.arange(len(sums))
    apart = np.abs(place[:, None] - place) if ordered else (place[:, None] != place)
    by_chance = true @ apart @ decided / max(true.sum(), 1)
    observed = distance.sum() if ordered else fn.sum()
    return float(1 - observed / by_chance) if by_chance else float("nan")


def label_metrics(
    sums: np.ndarray, correct: np.ndarray, decisions: np.ndarray, event_only: bool = False
) -> dict[str, float]:
    """Read macro-AUROC, macro-AUPRC, macro-F1 and accuracy from `classification_sums`.

    A label without one of the classes (of F1 and AUPRC: without positives) is excluded from the mean. A metric
    without any label left is NaN.

    Parameters
    ----------
    sums : as `classification_sums` makes them, added up
    correct, decisions : (label,), number of correct decisions and of all: accuracy is their quotient
    event_only : whether the first label is only the absence of the second, and excluded from AUPRC
    """
    tp, fp, fn = sums[:, :3].T
    histograms = score_histograms(sums)
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return {
        "auroc": _mean([auroc(*pair) for pair in histograms]),
        "auprc": _mean([average_precision(*pair) for pair in histograms[event_only:]]),
        "f1": _mean(f1[tp + fn > 0]),
        "accuracy": float(correct.sum() / decisions.sum()) if decisions.any() else float("nan"),
    }


def _mean(values) -> float:
    """Mean of what is a number; NaN when nothing is."""
    kept = [v for v in values if not np.isnan(v)]
    return float(np.mean(kept)) if kept else float("nan")
