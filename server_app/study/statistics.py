"""What can be said of numbers over seeds: mean and spread, who is best, and whether a difference holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_partitions.table import Mark

MIN_PAIRS = 6  # pairs that differ, below which a signed-rank test cannot reach p = 0.05


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; of one value the latter is NaN, as is all with a NaN in it."""
    if not len(values):
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def rank_marks(found: Sequence[tuple[float, float]], higher: bool = True) -> list[Mark]:
    """Of (mean, sd) per method: "best", "tie" or "".

    A method ties with the best when their means differ by no more than the larger of their two standard
    deviations over seeds.
    """
    numbers = [mean for mean, _ in found if not math.isnan(mean)]
    if not numbers:
        return [""] * len(found)
    top = max(numbers) if higher else min(numbers)
    spread = max((0.0 if math.isnan(sd) else sd) for mean, sd in found if mean == top)
    out: list[Mark] = []
    for mean, sd in found:
        wide = max(spread, 0.0 if math.isnan(sd) else sd)
        near = abs(mean - top) <= wide or math.isclose(abs(mean - top), wide, rel_tol=1e-9)
        out.append("best" if mean == top else "tie" if near else "")
    return out


@dataclass(frozen=True)
class Comparison:
    """Of paired cells: how much better the first is, and how sure that is, by which `test`."""

    pairs: int
    difference: float  # mean
    test: str  # "Wilcoxon" with p, or "t" with a 95 % interval, or "none"
    p: float = math.nan
    low: float = math.nan
    high: float = math.nan


def compare(ours: Sequence[float], theirs: Sequence[float], higher: bool = True) -> Comparison:
    """Ours less theirs by pairs (the other way round where lower is better); pairs with a NaN are left out.

    Wilcoxon's signed-rank test (Biometrics Bulletin 1945), two-sided, pairs that are equal left out. Where
    fewer than six are left, which can never reach p = 0.05, Student's 95 % interval of the mean (Biometrika
    1908), which takes differences for normal; a bootstrap of so few would be far too narrow.
    """
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    difference = difference[~np.isnan(difference)] * (1 if higher else -1)
    n, unequal = len(difference), difference[difference != 0]
    if n < 2:
        return Comparison(n, float(difference.mean()) if n else math.nan, "none")
    mean = float(difference.mean())
    from scipy import stats  # takes a second, which other commands need not wait

    if len(unequal) >= MIN_PAIRS:
        return Comparison(n, mean, "Wilcoxon", p=float(stats.wilcoxon(unequal).pvalue))
    if n >= MIN_PAIRS:
        return Comparison(n, mean, "none")  # nearly all are equal
    wide = float(stats.t.ppf(0.975, n - 1) * difference.std(ddof=1) / math.sqrt(n))
    return Comparison(n, mean, "t", low=mean - wide, high=mean + wide)


def holm(p: Sequence[float]) -> list[float]:
    """Values of p adjusted for their number (Holm, Scandinavian Journal of Statistics 1979); NaN stays."""
    out, reached = [math.nan] * len(p), 0.0
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    for rank, i in enumerate(order):
        reached = max(reached, min(1.0, (len(order) - rank) * p[i]))
        out[i] = reached
    return out
