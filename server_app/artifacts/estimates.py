"""Numbers with replicates over patients, from which their 95 % intervals are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

INTERVAL_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """A number, and its values in replicates of the test patients.

    Attributes
    ----------
    value : float
        NaN where the data do not define it.
    replicates : ndarray, shape (replicate,), or None
        The same number, computed from replicates of the sums; None where sites sent none. The n-th
        replicate of every number of a run has the same patients.
    """

    value: float
    replicates: np.ndarray | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % percentile interval (Efron and Tibshirani 1993, section 13.3).

        It is of the replicates that are finite, and None where the number or all replicates are not.
        """
        if self.replicates is None or not math.isfinite(self.value):
            return None
        finite = self.replicates[np.isfinite(self.replicates)]
        if not len(finite):
            return None
        low, high = np.quantile(finite, INTERVAL_QUANTILES)
        return float(low), float(high)


NO_ESTIMATE = Estimate(math.nan)


def combine(function: Callable[..., Any], *estimates: Estimate) -> Estimate:
    """Compute a number from estimates of the same patients, in every replicate if all have equally many.

    Parameters
    ----------
    function : callable
        Takes as many numbers as there are estimates, or as many arrays of them.
    *estimates : Estimate
    """
    value = float(function(*(e.value for e in estimates)))
    replicates = [e.replicates for e in estimates if e.replicates is not None]
    paired = len(replicates) == len(estimates) and len({len(r) for r in replicates}) == 1
    return Estimate(value, function(*replicates) if paired else None)
