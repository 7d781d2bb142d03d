"""Metrics as sums that add up: what sites send, and what the coordinator reads from the total.

Imputation: per method the count, absolute and squared error, and for draws the quantile loss and the
cells inside the 90 % interval, all on hidden cells in standard deviations of the modality.
Task: confusion counts and score histograms per label. Added over sites they are exactly the sums of the
pooled data, so no metric here is an average of averages.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = torch.linspace(0.05, 0.95, 19)
BINS = 1000  # of a score histogram: AUROC is exact up to ties within a thousandth
# Holes that every imputer is scored on, as arguments for the function that makes them, and by whom.
SCORED: dict[str, dict[str, float]] = {
    "points 50 %": {"points": 0.5},
    "gaps 50 %": {"gaps": 0.5},
    "third absent": {"modalities": 1 / 3},
}
SCORED_METHODS = ("mean", "linear", "estimate", "condi")  # and "condi, draws" where there are draws
IMPUTATION = ("count", "absolute", "squared", "quantile", "covered")  # the sums, in this order


def scored_keys(samples: int) -> list[str]:
    """Names of the sums of an imputer's evaluation, with or without draws."""
    methods = SCORED_METHODS + (("condi, draws",) if samples else ())
    return [f"{kind}/{method}" for kind in SCORED for method in methods]


def imputation_sums(truth: Tensor, point: Tensor, hidden: Tensor, draws: Tensor | None = None) -> np.ndarray:
    """Sums over the hidden cells of each modality, `(modality, 5)`, ordered as IMPUTATION.

    Tensors are `(batch, modality, patch, sample)`, `draws` has one more axis in front. Without draws the
    point is the whole distribution: its quantile loss is the absolute error, and it covers nothing.
    """
    error = torch.where(hidden, point - truth, 0.0).double()
    quantile, covered = error.abs(), torch.zeros_like(error)
    if draws is not None and len(draws):
        levels = LEVELS.to(truth.device).view(-1, 1, 1, 1, 1)
        over = truth - torch.quantile(draws, LEVELS.to(truth.device), dim=0)
        quantile = torch.where(hidden, 2 * torch.maximum(levels * over, (levels - 1) * over).mean(0), 0.0)
        covered = hidden & (over[0] >= 0) & (over[-1] <= 0)
    sums = [hidden, error.abs(), error.square(), quantile, covered]
    return torch.stack([s.double().sum((0, 2, 3)) for s in sums], 1).cpu().numpy()


def imputation_metrics(sums: np.ndarray) -> dict[str, float]:
    """MAE, RMSE and CRPS in standard deviations, coverage of the 90 % interval; NaN without cells.

    `sums` ordered as IMPUTATION: of one modality, or added over those of interest.
    """
    count, absolute, squared, quantile, covered = np.asarray(sums, float) / max(sums[0], 1)
    if not sums[0]:
        return dict.fromkeys(("mae", "rmse", "crps", "coverage"), float("nan"))
    return {"mae": absolute, "rmse": squared**0.5, "crps": quantile, "coverage": covered}


def task_sums(probabilities: Tensor, labels: Tensor, single_label: bool) -> np.ndarray:
    """Per label: true and false positives, false and true negatives, then score histograms of both classes.

    `(label, 4 + 2 * BINS)`; a single-label task decides for the likeliest label, a multi-label one at 1/2.
    """
    p, y = probabilities.double().numpy(), labels.numpy() > 0.5
    decided = p.argmax(1)[:, None] == np.arange(p.shape[1]) if single_label else p >= 0.5
    counts = [(decided & y), (decided & ~y), (~decided & y), (~decided & ~y)]
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    out = np.zeros((y.shape[1], 4 + 2 * BINS))
    out[:, :4] = np.stack([c.sum(0) for c in counts], 1)
    for label in range(y.shape[1]):
        out[label, 4 : 4 + BINS] = np.bincount(bins[y[:, label], label], minlength=BINS)
        out[label, 4 + BINS :] = np.bincount(bins[~y[:, label], label], minlength=BINS)
    return out


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the ROC curve from two score histograms, ties counted half; NaN when a class is empty."""
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return float("nan")
    below = np.concatenate([[0], negatives.cumsum()[:-1]])
    return float((positives * (below + negatives / 2)).sum() / pairs)


def task_metrics(sums: np.ndarray, single_label: bool) -> dict[str, float]:
    """Macro-AUROC, macro-F1 and accuracy; labels without both classes (or any positive) are left out.

    Accuracy is per decision: for multi-label tasks the share of label decisions that are right. A metric
    of which nothing is left is NaN.
    """
    tp, fp, fn, tn = sums[:, :4].T
    areas = [auroc(row[4 : 4 + BINS], row[4 + BINS :]) for row in sums]
    known = tp + fn > 0
    right, decisions = (tp, tp + fn) if single_label else (tp + tn, tp + fp + fn + tn)
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return {
        "auroc": float(np.nanmean(areas)) if not np.all(np.isnan(areas)) else float("nan"),
        "f1": float(f1[known].mean()) if known.any() else float("nan"),
        "accuracy": float(right.sum() / decisions.sum()) if decisions.any() else float("nan"),
    }
