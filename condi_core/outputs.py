"""What a trained run returns: completed windows, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch

from condi_core.evaluation.imputation import quantiles


def read_levels(levels: Sequence[float]) -> np.ndarray:
    """Read the levels of quantiles, float32 (level,); ValueError unless all are between 0 and 1."""
    try:
        numbers = np.asarray(levels, np.float32)
        is_valid = numbers.ndim == 1 and numbers.size and ((numbers >= 0) & (numbers <= 1)).all()
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise ValueError(f"expected a list of levels between 0 and 1, such as [0.05, 0.95], got {levels!r}")
    return numbers


def require_samples(samples: int, least: int = 0) -> None:
    """Raise ValueError unless `samples`, a number of draws, is an integer that is not below `least`."""
    if not isinstance(samples, Integral) or samples < least:
        raise ValueError(
            f"expected samples, a number of draws, as an integer from {least} up, got {samples!r}"
        )


class Imputation(NamedTuple):
    """Completed windows in source units, in the shape in which they were given.

    Observed samples are returned bit for bit.

    Attributes
    ----------
    point : float32, of the shape of the windows, the best single values
    draws : float32 (draw, ...), equally likely completions
    dropped : int (modality,), observed samples outside the plausible range, which were completed instead
    """

    point: np.ndarray
    draws: np.ndarray
    dropped: np.ndarray

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Compute quantiles of the draws.

        Parameters
        ----------
        levels : between 0 and 1. Only from 19 draws on, 0.05 and 0.95 lie between the outermost draws.

        Returns
        -------
        (level, ...), of the shape of the windows

        Raises
        ------
        ValueError
            There are no draws, or levels are not between 0 and 1.
        """
        checked = read_levels(levels)
        if not len(self.draws):
            raise ValueError("quantiles need draws, and there are none: call `impute` with samples above 0")
        return quantiles(torch.from_numpy(self.draws), torch.from_numpy(checked)).numpy()


class Prediction(NamedTuple):
    """What is predicted of windows, and how far it depends on what is missing.

    The columns are those of `TaskKind.prediction_columns`: the probability of each label, or for each label
    of a regression its mean and both ends of its 90 % interval, in the unit of the label.

    Attributes
    ----------
    values : float32 (batch, column), or (column,) for one window (channel, time)
    draws : float32 (draw, batch, column), the predictions for equally likely completions
    dropped : int (modality,), observed samples outside the plausible range, which were not used
    """

    values: np.ndarray
    draws: np.ndarray
    dropped: np.ndarray

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over completions (batch, column); NaN without at least two draws."""
        if len(self.draws) < 2:
            return np.full_like(self.values, np.nan)
        return self.draws.std(0, ddof=1)
