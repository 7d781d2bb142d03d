"""Statistics of numbers over seeds: mean and spread, the best method, and tests of differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_partitions.table import Mark

MIN_WILCOXON_PAIRS = 6  # with fewer pairs that differ, a signed-rank test cannot reach p = 0.05


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation.

    The deviation of a single value is NaN, and so are both when a value is NaN.
    """
    if not len(values):
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def rank_marks(scores: Sequence[tuple[float, float]], higher_is_better: bool = True) -> list[Mark]:
    """Mark the best of several methods and those that tie with it.

    A method ties with the best when their means differ by no more than the larger of their two standard
    deviations over seeds.

    Parameters
    ----------
    scores : mean and standard deviation of each method
    higher_is_better : whether the best has the highest mean

    Returns
    -------
    "best", "tie" or "" for each method.
    """
    means = [mean for mean, _ in scores if not math.isnan(mean)]
    if not means:
        return [""] * len(scores)
    top = max(means) if higher_is_better else min(means)
    top_sd = max((0.0 if math.isnan(sd) else sd) for mean, sd in scores if mean == top)
    marks: list[Mark] = []
    for mean, sd in scores:
        tolerance = max(top_sd, 0.0 if math.isnan(sd) else sd)
        is_near = abs(mean - top) <= tolerance or math.isclose(abs(mean - top), tolerance, rel_tol=1e-9)
        marks.append("best" if mean == top else "tie" if is_near else "")
    return marks


@dataclass(frozen=True)
class Comparison:
    """How much better the first of two methods is, over pairs of cells.

    Attributes
    ----------
    pairs : number of pairs
    difference : mean of the differences
    test : "Wilcoxon" with `p`, "t" with a 95 % confidence interval from `low` to `high`, or "none"
    """

    pairs: int
    difference: float
    test: Literal["Wilcoxon", "t", "none"]
    p: float = math.nan
    low: float = math.nan
    high: float = math.nan


def compare_pairs(
    first: Sequence[float], second: Sequence[float], higher_is_better: bool = True
) -> Comparison:
    """Compare two methods by the differences of their pairs; pairs with a NaN are excluded.

    Wilcoxon's signed-rank test (Biometrics Bulletin 1945), two-sided, without pairs that are equal. With
    fewer than six pairs that differ it can never reach p = 0.05; then Student's 95 % confidence interval of
    the mean (Biometrika 1908), which assumes normal differences. A bootstrap interval from so few pairs would
    be far too narrow.

    Parameters
    ----------
    first, second : scores of the two methods, pair by pair
    higher_is_better : whether the difference is first - second, or else second - first
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    differences = differences[~np.isnan(differences)] * (1 if higher_is_better else -1)
    n, unequal = len(differences), differences[differences != 0]
    if n < 2:
        return Comparison(n, float(differences.mean()) if n else math.nan, "none")
    mean = float(differences.mean())
    from scipy import stats  # imported here because it takes a second

    if len(unequal) >= MIN_WILCOXON_PAIRS:
        return Comparison(n, mean, "Wilcoxon", p=float(stats.wilcoxon(unequal).pvalue))
    if n >= MIN_WILCOXON_PAIRS:
        return Comparison(n, mean, "none")  # nearly all pairs are equal
    half_width = float(stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / math.sqrt(n))
    return Comparison(n, mean, "t", low=mean - half_width, high=mean + half_width)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, Scandinavian Journal of Statistics 1979); NaN stays NaN."""
    adjusted, largest = [math.nan] * len(p_values), 0.0
    order = [i for i in np.argsort(p_values, kind="stable") if not math.isnan(p_values[i])]
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
