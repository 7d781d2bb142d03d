"""Statistics of scores over seeds and over test patients: means, intervals, and tests of differences."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from server_app.artifacts.estimates import Estimate, combine

MIN_WILCOXON_PAIRS = 6  # with fewer pairs that differ, a signed-rank test cannot reach p = 0.05
COVERAGE = 0.95  # of intervals over seeds

Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


def mean_sd(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the mean and the sample standard deviation.

    The deviation of a single value is NaN, and so are both when a value is NaN.
    """
    if not len(values):
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def student_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return Student's 95 % confidence interval of a mean (Biometrika 1908); NaN for a single value."""
    if len(values) < 2:
        return NO_INTERVAL
    from scipy import stats  # imported here because it takes a second

    mean, sd = mean_sd(values)
    half_width = float(stats.t.ppf((1 + COVERAGE) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return mean - half_width, mean + half_width


def patient_interval(scores: Sequence[Estimate]) -> Interval:
    """Return the 95 % interval over test patients of a mean over runs; NaN unless all have replicates.

    Its ends are the means of the ends. Seeds and scenarios share patients, but their replicates are not
    paired: this is the interval if their deviations are the same, the widest that they can have.
    """
    intervals = [score.interval for score in scores]
    known = [interval for interval in intervals if interval is not None]
    if not known or len(known) < len(intervals):
        return NO_INTERVAL
    lows, highs = zip(*known, strict=True)
    return float(np.mean(lows)), float(np.mean(highs))


@dataclass(frozen=True)
class Comparison:
    """How much better the first of two methods is, over pairs of cells.

    Attributes
    ----------
    pairs : number of pairs
    difference : mean of the differences
    test : "Wilcoxon" with `p`, "t" with a 95 % confidence interval from `low` to `high`, or "none"
    patients : 95 % interval of the difference over test patients
    """

    pairs: int
    difference: float
    test: Literal["Wilcoxon", "t", "none"]
    p: float = math.nan
    low: float = math.nan
    high: float = math.nan
    patients: Interval = NO_INTERVAL


def compare_pairs(
    first: Sequence[Estimate], second: Sequence[Estimate], higher_is_better: bool = True
) -> Comparison:
    """Compare two methods by the differences of their pairs; pairs with a NaN are excluded.

    Wilcoxon's signed-rank test (Biometrics Bulletin 1945), two-sided, without pairs that are equal. With
    fewer than six pairs that differ it can never reach p = 0.05; then Student's 95 % confidence interval of
    the mean, which assumes normal differences. A bootstrap of so few pairs would be far too narrow.

    Parameters
    ----------
    first, second : scores of the two methods, pair by pair
    higher_is_better : whether the difference is first - second, or else second - first
    """
    better, worse = (first, second) if higher_is_better else (second, first)
    paired = [combine(operator.sub, a, b) for a, b in zip(better, worse, strict=True)]
    paired = [difference for difference in paired if not math.isnan(difference.value)]
    differences = np.array([difference.value for difference in paired])
    n, unequal = len(differences), differences[differences != 0]
    if n == 0:
        return Comparison(0, math.nan, "none")
    mean, patients = float(differences.mean()), patient_interval(paired)
    if len(unequal) >= MIN_WILCOXON_PAIRS:
        from scipy import stats

        p = float(stats.wilcoxon(unequal).pvalue)
        return Comparison(n, mean, "Wilcoxon", p=p, patients=patients)
    if n == 1 or n >= MIN_WILCOXON_PAIRS:  # nearly all pairs are equal
        return Comparison(n, mean, "none", patients=patients)
    low, high = student_interval(differences)
    return Comparison(n, mean, "t", low=low, high=high, patients=patients)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, Scandinavian Journal of Statistics 1979); NaN stays NaN."""
    adjusted, largest = [math.nan] * len(p_values), 0.0
    order = [i for i in np.argsort(p_values, kind="stable") if not math.isnan(p_values[i])]
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
