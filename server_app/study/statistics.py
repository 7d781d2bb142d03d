"""What can be said of numbers over seeds: mean and spread, who is best, and whether a difference holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

FEWEST = 6  # pairs that differ, below which a signed-rank test cannot reach p = 0.05


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; of one value the latter is NaN, as is all with a NaN in it."""
    if not len(values):
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def marks(found: Sequence[tuple[float, float]], higher: bool = True) -> list[str]:
    """Of (mean, sd) per method: "best", "tie" or "".

    A method ties with the best when their means differ by no more than the larger of their two standard
    deviations over seeds.
    """
    numbers = [mean for mean, _ in found if not math.isnan(mean)]
    if not numbers:
        return [""] * len(found)
    top = max(numbers) if higher else min(numbers)
    spread = max((0.0 if math.isnan(sd) else sd) for mean, sd in found if mean == top)
    out = []
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
    test: str  # "Wilcoxon" with p, or "bootstrap" with an interval, or "none"
    p: float = math.nan
    low: float = math.nan
    high: float = math.nan


def compare(ours: Sequence[float], theirs: Sequence[float], higher: bool = True) -> Comparison:
    """Ours less theirs by pairs (the other way round where lower is better); pairs with a NaN are left out.

    Wilcoxon's signed-rank test (Biometrics Bulletin 1945), two-sided, pairs that are equal left out. Where
    fewer than six are left, a 95 % interval of the mean by the bootstrap (Efron 1979) over pairs: all n^n
    resamples, of which there are then 3125 at most.
    """
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    difference = difference[~np.isnan(difference)] * (1 if higher else -1)
    n, unequal = len(difference), difference[difference != 0]
    if n < 2:
        return Comparison(n, float(difference.mean()) if n else math.nan, "none")
    mean = float(difference.mean())
    if len(unequal) >= FEWEST:
        from scipy.stats import wilcoxon  # takes a second, which other commands need not wait

        return Comparison(n, mean, "Wilcoxon", p=float(wilcoxon(unequal).pvalue))
    if n >= FEWEST:
        return Comparison(n, mean, "none")  # nearly all are equal
    means = np.array(list(product(difference, repeat=n))).mean(1)
    low, high = np.quantile(means, (0.025, 0.975), method="inverted_cdf")
    return Comparison(n, mean, "bootstrap", low=float(low), high=float(high))


def holm(p: Sequence[float]) -> list[float]:
    """Values of p adjusted for their number (Holm, Scandinavian Journal of Statistics 1979); NaN stays."""
    out, reached = [math.nan] * len(p), 0.0
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    for rank, i in enumerate(order):
        reached = max(reached, min(1.0, (len(order) - rank) * p[i]))
        out[i] = reached
    return out
