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
        The same number, computed from replicates of the sums; None where sites sent none.
    """

    value: float
    replicates: np.ndarray | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % percentile interval (Efron and Tibshirani 1993, section 13.3); None without replicates."""
        if self.replicates is None or not math.isfinite(self.value):
            return None
        return percentile_interval(self.replicates)


def percentile_interval(replicates: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % interval of the replicates that are finite; None without any."""
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, INTERVAL_QUANTILES)
    return float(low), float(high)


NO_ESTIMATE = Estimate(math.nan)


def combine(function: Callable[..., Any], *estimates: Estimate) -> Estimate:
    """Compute a number from estimates of the same patients, in every replicate.

    Parameters
    ----------
    function : callable
        Takes as many numbers as there are estimates, or as many arrays of them.
    *estimates : Estimate
    """
    replicates = [e.replicates for e in estimates if e.replicates is not None]
    complete = len(replicates) == len(estimates)
    return Estimate(function(*(e.value for e in estimates)), function(*replicates) if complete else None)
