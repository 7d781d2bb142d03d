"""The dependence of missingness on values, in the terms of Rubin (Biometrika 1976).

- "mcar", missing completely at random: it depends on no value.
- "mar", missing at random: it depends on values of another modality, of which the mechanism hides nothing.
- "mnar", missing not at random: it depends on the hidden values themselves.

High values lead to more losses. Only the standard score of a value within its window counts, so that the mask
of a window does not depend on other windows.
"""

import numpy as np

from condi_core.missingness.mechanism import Window
from condi_core.missingness.setting import Setting, choice

MEANING = "mcar | mar (depends on a modality that is not hidden) | mnar (depends on the hidden value)"
DEPENDENCES = ("mcar", "mar", "mnar")
LOGIT_SLOPE = 2.0  # increase of the log odds of a loss per standard deviation of the score
BISECTION_STEPS = 20


def dependence_setting(name: str) -> Setting:
    """Make the setting that chooses the dependence of a mechanism."""
    return choice(name, DEPENDENCES, MEANING)


def compute_driver_scores(
    window: Window, share: float, dependence: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the scores on which losses depend, and the share that each modality loses.

    For "mar", one of the observed modalities is drawn as the driver of the window. Its scores are its means
    per patch, so that modalities of any rate can depend on it. The driver loses nothing and the others lose
    more, so that over many windows each modality loses its share, or everything where that is not enough. If
    only one modality is observed, its losses depend on no value.

    Parameters
    ----------
    window
        The window.
    share
        Expected share that each modality loses over many windows.
    dependence
        "mar" or "mnar".
    rng
        Source of random numbers.

    Returns
    -------
    scores
        Broadcastable to `window.observed`; 0, the mean score, where nothing is observed.
    shares
        `(modality,)`: the expected share that each modality loses in this window.
    """
    values, observed = window.values, window.observed
    shares = np.full(len(observed), share)
    if dependence == "mnar":
        flat = observed.reshape(len(observed), -1)
        return _standardise(values.reshape(flat.shape), flat).reshape(observed.shape), shares
    candidates = np.flatnonzero(observed.any(axis=(1, 2)))
    if len(candidates) < 2:
        return np.zeros((1, observed.shape[1], 1)), shares
    driver = rng.choice(candidates)
    shares = np.minimum(1, shares * len(candidates) / (len(candidates) - 1))
    shares[driver] = 0
    counts = observed[driver].sum(1)
    sums = np.where(observed[driver], values[driver], 0).sum(1, dtype=np.float64)
    return _standardise(sums / np.maximum(counts, 1), counts > 0)[None, :, None], shares


def compute_loss_probabilities(scores: np.ndarray, observed: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Compute probabilities of a loss that are logistic in the scores and have the shares as means.

    The means are over the observed samples of each modality. Bisection finds the intercept, as in Muzellec et
    al. (ICML 2020).
    """
    weight = observed if scores.shape[2] > 1 else observed.sum(2, keepdims=True)
    weight = weight / np.maximum(weight.sum((1, 2), keepdims=True), 1)
    # With odds, all steps share one exponential of the scores. Clipping changes nothing, because the
    # probabilities beyond these bounds are 0 or 1.
    odds_against = np.exp(np.clip(-LOGIT_SLOPE * scores, -100, 100))
    with np.errstate(divide="ignore"):  # a share of 0 or 1 has an infinite intercept
        log_odds = np.log(shares / (1 - shares))
    low, high = (log_odds + np.log(bound(odds_against, axis=(1, 2))) for bound in (np.min, np.max))
    for _ in range(BISECTION_STEPS):
        intercept = (low + high) / 2
        probabilities = 1 / (1 + np.exp(-intercept)[:, None, None] * odds_against)
        too_low = np.einsum("mps,mps->m", weight, probabilities) < shares
        low, high = np.where(too_low, intercept, low), np.where(too_low, high, intercept)
    return probabilities


def _standardise(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Compute standard scores of what is observed along the last axis; 0 elsewhere, and of constants."""
    count = np.maximum(observed.sum(-1, keepdims=True), 1)
    x = np.where(observed, x, 0).astype(np.float64)  # 64 bits hold the mean of equal 32-bit values exactly
    mean = x.sum(-1, keepdims=True) / count
    x = np.where(observed, x - mean, 0)
    deviation = np.sqrt((x * x).sum(-1, keepdims=True) / count)
    return x / np.where(deviation > 0, deviation, 1)
