"""The accountant of patient-level privacy: epsilon of releases, and the noise that gives a wanted epsilon.

The adjacency replaces all that one patient contributes by nothing (zero-out adjacency, Kairouz et al. 2021,
arXiv:2103.00039, section 2): the number of patients is public. Google's `dp-accounting` composes the privacy
loss distributions of all mechanisms (Koskela et al. 2020; Doroshenko et al. 2022). It is imported when it is
needed, since most runs are without privacy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

DISCRETISATION = 1e-3  # of privacy losses, which are rounded up
RELATIVE_DISCRETISATION = 5e-4  # of large privacy losses, as a fraction of the expected epsilon
NOISE_TOLERANCE = 5e-3  # of the calibrated noise multiplier, relative


class GaussianRelease(NamedTuple):
    """Releases of a sum of clipped contributions of patients with Gaussian noise.

    Attributes
    ----------
    noise_multiplier : standard deviation of the noise, in units of the clipping norm
    sampling_rate : probability with which a patient is part of the sum; 1: each patient is
    releases : number of such sums
    """

    noise_multiplier: float
    sampling_rate: float = 1.0
    releases: int = 1


def compute_epsilon(mechanisms: Iterable[GaussianRelease], delta: float) -> float:
    """Return the epsilon of (epsilon, delta) differential privacy of all releases together.

    Parameters
    ----------
    mechanisms : what was released about the same patients
    delta : the delta at which epsilon is sought
    """
    counts: dict[tuple[float, float], int] = {}
    for mechanism in mechanisms:
        key = mechanism.noise_multiplier, mechanism.sampling_rate
        counts[key] = counts.get(key, 0) + mechanism.releases
    merged = tuple(GaussianRelease(*key, count) for key, count in sorted(counts.items()) if count)
    return _composed_epsilon(merged, delta) if merged else 0.0


@lru_cache(maxsize=256)
def _composed_epsilon(mechanisms: tuple[GaussianRelease, ...], delta: float) -> float:
    from dp_accounting import NeighboringRelation, pld

    mu_squared = _limit_of_mu_squared(mechanisms)
    expected = mu_squared / 2 + math.sqrt(-2 * math.log(delta) * mu_squared)
    accountant = pld.PLDAccountant(
        neighboring_relation=NeighboringRelation.REPLACE_SPECIAL,
        value_discretization_interval=max(DISCRETISATION, RELATIVE_DISCRETISATION * expected),
    )
    return float(accountant.compose(_event(mechanisms)).get_epsilon(delta))


def _limit_of_mu_squared(mechanisms: Iterable[GaussianRelease]) -> float:
    """Return the square of mu of the Gaussian mechanism that many releases are like (Bu et al. 2020)."""
    total = 0.0
    for noise_multiplier, rate, count in mechanisms:
        exponent = noise_multiplier**-2
        total += count * min(exponent, rate**2 * math.expm1(min(exponent, 50)))
    return total


def _event(mechanisms: Iterable[GaussianRelease]) -> Any:
    from dp_accounting import ComposedDpEvent, GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent

    events = []
    for noise_multiplier, rate, count in mechanisms:
        event = GaussianDpEvent(noise_multiplier)
        events.append(SelfComposedDpEvent(PoissonSampledDpEvent(rate, event) if rate < 1 else event, count))
    return ComposedDpEvent(events)


@lru_cache(maxsize=256)
def gaussian_multiplier(epsilon: float, delta: float) -> float:
    """Return the noise multiplier of one Gaussian release (Balle and Wang 2018, theorem 8)."""
    from dp_accounting.pld.common import DifferentialPrivacyParameters
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss

    guarantee = DifferentialPrivacyParameters(epsilon, delta)
    return float(GaussianPrivacyLoss.from_privacy_guarantee(guarantee).standard_deviation)


@lru_cache(maxsize=256)
def calibrate_sampled_noise(
    sampled: tuple[tuple[float, int], ...], others: tuple[GaussianRelease, ...], epsilon: float, delta: float
) -> float:
    """Return the noise multiplier with which all releases together have the wanted epsilon.

    Parameters
    ----------
    sampled : pairs (sampling rate, count) of the releases whose noise is sought, which is the same for all
    others : further releases, with noise
    epsilon, delta : of all releases together
    """

    def epsilon_at(multiplier: float) -> float:
        return compute_epsilon([*others, *(GaussianRelease(multiplier, *pair) for pair in sampled)], delta)

    # The central limit of sampled Gaussian releases (Bu et al. 2020, theorem 5) starts the search.
    mu_squared = gaussian_multiplier(epsilon, delta) ** -2 - sum(o.noise_multiplier**-2 for o in others)
    if mu_squared <= 0 or compute_epsilon(others, delta) >= epsilon:
        raise ValueError("the other releases spend more than epsilon")
    rates = sum(rate**2 * count for rate, count in sampled)
    low = high = 1 / math.sqrt(math.log1p(mu_squared / rates))
    while epsilon_at(high) > epsilon:
        low, high = high, 1.3 * high
    while low == high or epsilon_at(low) <= epsilon:
        low, high = low / 1.3, min(high, low)
    while high - low > NOISE_TOLERANCE * high:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if epsilon_at(middle) <= epsilon else (middle, high)
    return high


def split_budget(shares: Sequence[float], epsilon: float, delta: float) -> list[float]:
    """Return the noise multipliers of single releases that take these shares of the privacy of a run.

    Parameters
    ----------
    shares : of 1 / multiplier², which adds up over Gaussian releases (Dong et al. 2022, corollary 3.3)
    epsilon, delta : of a run, which all releases with shares of 1 together would spend
    """
    total = gaussian_multiplier(epsilon, delta)
    return [total / math.sqrt(share) for share in shares]
