"""What a loss depends on, in the words of Rubin (Biometrika 1976).

- "mcar", missing completely at random: no value.
- "mar", missing at random: values of another modality, which the mechanism spares.
- "mnar", missing not at random: the lost value.

High values are lost. Values decide by their standard score within the window, so that no other window is
needed to know what is missing from this one.
"""

import numpy as np

from data_partitions.missingness.mechanism import Window
from data_partitions.missingness.setting import Setting, choice

MEANING = "mcar | mar (depends on a modality that is not hidden) | mnar (depends on the hidden value)"
DEPENDENCES = ("mcar", "mar", "mnar")
LOGIT_SLOPE = 2.0  # of the log odds of a loss, per standard deviation of the deciding value
BISECTION_STEPS = 20


def dependence_setting(name: str) -> Setting:
    """Make the setting that says what a mechanism's losses depend on."""
    return choice(name, DEPENDENCES, MEANING)


def driver_scores(
    window: Window, share: float, dependence: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the scores that decide, and the share that each modality has to lose.

    For "mar", one of the present modalities is drawn for the window. It decides by its mean in each patch, so
    that modalities of any rate can depend on it. The others lose more, so that over windows every modality
    loses its share, or all it has where that is not enough. A modality that is alone depends on nothing.

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
        Broadcastable to `window.observed`; 0, which is neutral, where nothing is observed.
    shares
        `(modality,)`
    """
    values, observed = window.values, window.observed
    shares = np.full(len(observed), share)
    if dependence == "mnar":
        flat = observed.reshape(len(observed), -1)
        return _standardise(values.reshape(flat.shape), flat).reshape(observed.shape), shares
    present = np.flatnonzero(observed.any(axis=(1, 2)))
    if len(present) < 2:
        return np.zeros((1, observed.shape[1], 1)), shares
    driver = rng.choice(present)
    shares = np.minimum(1, shares * len(present) / (len(present) - 1))
    shares[driver] = 0
    counts = observed[driver].sum(1)
    sums = np.where(observed[driver], values[driver], 0).sum(1, dtype=np.float64)
    return _standardise(sums / np.maximum(counts, 1), counts > 0)[None, :, None], shares


def logistic_probabilities(scores: np.ndarray, observed: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Compute probabilities of a loss that are logistic in the scores and have the shares as means.

    The mean is over the observed samples of a modality. The intercept is found by bisection, as in Muzellec
    et al. (ICML 2020).
    """
    weight = observed if scores.shape[2] > 1 else observed.sum(2, keepdims=True)
    weight = weight / np.maximum(weight.sum((1, 2), keepdims=True), 1)
    # The exponential function is needed once when working with odds. Beyond the bounds, probabilities are 0
    # or 1 anyhow.
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
