"""Values in steps of time: which of several in one step counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np

Within = Literal["last", "first", "mean", "median", "min", "max", "sum"]


def _first(values: np.ndarray) -> np.ndarray:
    return values[np.arange(len(values)), (~np.isnan(values)).argmax(1)]


def _last(values: np.ndarray) -> np.ndarray:
    return _first(values[:, ::-1])


def _sum(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values).all(1), np.nan, np.nansum(values, 1))


REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "last": _last,
    "first": _first,
    "mean": lambda values: np.nanmean(values, 1),
    "median": lambda values: np.nanmedian(values, 1),
    "min": lambda values: np.nanmin(values, 1),
    "max": lambda values: np.nanmax(values, 1),
    "sum": _sum,
}


def reduce_to_steps(values: np.ndarray, edges: np.ndarray, within: str) -> np.ndarray:
    """Reduce the values in each step to one: float64 `(step,)`, NaN where a step has none.

    Step i has the values from `edges[i]` to `edges[i + 1]`, NaN where missing.
    """
    width = int(np.diff(edges).max(initial=0))
    if not width:
        return np.full(len(edges) - 1, np.nan)
    positions = edges[:-1, None] + np.arange(width)
    padded = np.append(values, np.nan)
    in_steps = padded[np.where(positions < edges[1:, None], positions, len(values))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # steps without a value
        return REDUCTIONS[within](in_steps)
