"""Thresholds of a label, and what deciding by one means for patients: sensitivity, specificity, PPV and NPV.

All functions take the two score histograms of a label, see `classification.score_histograms`. A window is
flagged when its score is at or above the threshold. This module does not need torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DEFAULT_THRESHOLD = 0.5
TARGET_SENSITIVITY = 0.9


@dataclass(frozen=True)
class OperatingPoint:
    """The decisions about a label at a threshold: counts of windows by truth and decision."""

    threshold: float
    true_positives: float
    false_positives: float
    false_negatives: float
    true_negatives: float

    @property
    def windows(self) -> float:
        return self.flagged + self.false_negatives + self.true_negatives

    @property
    def flagged(self) -> float:
        """Windows at or above the threshold."""
        return self.true_positives + self.false_positives

    @property
    def positives(self) -> float:
        """Windows with the label."""
        return self.true_positives + self.false_negatives

    @property
    def prevalence(self) -> float:
        return _quotient(self.positives, self.windows)

    @property
    def sensitivity(self) -> float:
        return _quotient(self.true_positives, self.positives)

    @property
    def specificity(self) -> float:
        return _quotient(self.true_negatives, self.windows - self.positives)

    @property
    def ppv(self) -> float:
        """The share of flagged windows that have the label."""
        return _quotient(self.true_positives, self.flagged)

    @property
    def npv(self) -> float:
        """The share of other windows that do not have the label."""
        return _quotient(self.true_negatives, self.windows - self.flagged)


def operating_point(positives: np.ndarray, negatives: np.ndarray, threshold: float) -> OperatingPoint:
    """Count the decisions at a threshold, which is rounded to an edge of a bin of the histograms."""
    first = round(threshold * len(positives))
    tp, fp = float(positives[first:].sum()), float(negatives[first:].sum())
    return OperatingPoint(threshold, tp, fp, float(positives.sum()) - tp, float(negatives.sum()) - fp)


def youden_threshold(positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Return the threshold of the largest sensitivity + specificity (Youden, Cancer 3:32-35, 1950).

    Of equal thresholds it is the middle one of the lowest stretch. None when a class is empty.
    """
    sensitivity, specificity = _rates(positives, negatives)
    index = sensitivity + specificity
    return _middle_of_first_stretch(positives, negatives, index >= index.max() - 1e-12)


def sensitive_threshold(
    positives: np.ndarray, negatives: np.ndarray, target: float = TARGET_SENSITIVITY
) -> float | None:
    """Return the threshold with the largest specificity among those that reach a sensitivity.

    Of equal thresholds it is the middle one of the lowest stretch. None when a class is empty.
    """
    sensitivity, specificity = _rates(positives, negatives)
    reaching = sensitivity >= target - 1e-12
    best = specificity[reaching].max() if reaching.any() else np.inf
    return _middle_of_first_stretch(positives, negatives, reaching & (specificity >= best - 1e-12))


# Rules that choose a threshold from the histograms of validation windows, by what tables call them.
THRESHOLD_RULES: dict[str, Callable[[np.ndarray, np.ndarray], float | None]] = {
    "largest sensitivity + specificity": youden_threshold,
    f"sensitivity of {TARGET_SENSITIVITY:.0%}".replace("%", " %"): sensitive_threshold,
}


def _rates(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sensitivity and specificity at each edge between bins, from 0 on; the last edge is left out."""
    sensitivity = positives[::-1].cumsum()[::-1] / max(positives.sum(), 1)
    below = np.concatenate([[0.0], negatives.cumsum()[:-1]])
    return sensitivity, below / max(negatives.sum(), 1)


def _middle_of_first_stretch(positives: np.ndarray, negatives: np.ndarray, best: np.ndarray) -> float | None:
    if not positives.sum() or not negatives.sum():
        return None
    first = int(best.argmax())
    length = int((~best[first:]).argmax()) or len(best) - first
    return (first + (length - 1) // 2) / len(positives)


def _quotient(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
