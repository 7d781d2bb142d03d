"""Whether the limb leads of an ECG agree with each other, and what is wrong if they do not.

Two of the six limb leads determine the others: III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2 and
aVF = II - I / 2 (Einthoven; Goldberger).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

LIMB_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF")
# Each row is zero for leads that agree.
IDENTITIES = np.array(
    [
        [1.0, -1.0, 1.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.0, 1.0, 0.0, 0.0],
        [-1.0, 0.5, 0.0, 0.0, 1.0, 0.0],
        [0.5, -1.0, 0.0, 0.0, 0.0, 1.0],
    ]
)
MAX_RESIDUAL = 0.05  # of the leads' deviation; rounding to 5 uV leaves 0.01
TRUSTED_PERCENT = 99.0  # of the samples
MIN_AGREEMENT = 0.5  # correlation of I and V6 beyond which their directions are certain


class LimbLeadCheck(NamedTuple):
    """How far the limb leads agree."""

    residual: float  # largest deviation from an identity, as a share of the mean deviation of the leads
    # Two leads whose names are exchanged: with them exchanged back, the identities hold.
    exchanged: tuple[str, str] | None = None
    # Factor by which each lead must be multiplied so that the identities hold, with a median of 1. A negative
    # factor is an inverted lead. None if no factors make them hold, or none are needed.
    gains: dict[str, float] | None = None

    @property
    def agrees(self) -> bool:
        """Whether the leads agree as they are."""
        return self.residual <= MAX_RESIDUAL


def check_limb_leads(leads: Mapping[str, np.ndarray]) -> LimbLeadCheck | None:
    """Compare the limb leads of a recording; None if fewer than I, II and III are there or they are flat.

    Leads are `(sample,)` of one length, NaN where nothing was measured, by their names in `LIMB_LEADS`.
    """
    names = [name for name in LIMB_LEADS if name in leads]
    if not {"I", "II", "III"} <= set(names):
        return None
    signals = np.stack([leads[name] for name in names])
    signals = signals[:, ~np.isnan(signals).any(axis=0)]
    if signals.shape[1] < 100:
        return None
    signals = signals - signals.mean(axis=1, keepdims=True)
    deviations = signals.std(axis=1)
    if (deviations == 0).any():
        return None
    columns = [LIMB_LEADS.index(name) for name in names]
    identities = IDENTITIES[(IDENTITIES[:, [i for i in range(6) if i not in columns]] == 0).all(axis=1)]
    identities = identities[:, columns]
    # A few samples with artefacts, such as a damaged byte, do not count.
    deviation = np.abs(identities @ signals).max(axis=0)
    signals = signals[:, deviation <= np.percentile(deviation, TRUSTED_PERCENT)]
    covariance = signals @ signals.T / signals.shape[1]
    residual = _largest_residual(identities, covariance)
    if residual <= MAX_RESIDUAL:
        return LimbLeadCheck(residual)
    for i, j in combinations(range(len(names)), 2):
        order = np.arange(len(names))
        order[[i, j]] = j, i
        if _largest_residual(identities, covariance[np.ix_(order, order)]) <= MAX_RESIDUAL:
            return LimbLeadCheck(residual, exchanged=(names[i], names[j]))
    gains = _fit_gains(identities, covariance)
    if _largest_residual(identities, covariance * np.outer(gains, gains)) > MAX_RESIDUAL:
        return LimbLeadCheck(residual)
    return LimbLeadCheck(residual, gains=dict(zip(names, gains.tolist(), strict=True)))


def arms_exchanged(first: np.ndarray, v6: np.ndarray) -> bool:
    """Return whether lead I is opposite to V6, as when the electrodes of the arms are exchanged."""
    both = ~np.isnan(first) & ~np.isnan(v6)
    if both.sum() < 100 or first[both].std() == 0 or v6[both].std() == 0:
        return False
    return float(np.corrcoef(first[both], v6[both])[0, 1]) < -MIN_AGREEMENT


def _largest_residual(identities: np.ndarray, covariance: np.ndarray) -> float:
    """Return the largest deviation from an identity, in units of the mean deviation of the leads."""
    variances = np.einsum("ki,ij,kj->k", identities, covariance, identities)
    return float(np.sqrt(max(variances.max(), 0.0) / np.mean(np.diag(covariance))))


def _fit_gains(identities: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the gains that minimise the residuals of leads of unit deviation, with a median size of 1."""
    quadratic = (identities.T @ identities) * covariance
    deviations = np.sqrt(np.diag(covariance))
    _, vectors = np.linalg.eigh(quadratic / np.outer(deviations, deviations))
    gains = vectors[:, 0] / deviations
    return gains / np.median(np.abs(gains)) * np.sign(np.median(gains) or 1.0)
