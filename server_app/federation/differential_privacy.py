"""Differential privacy of whole sites: the average of a round with noise, and what it is worth.

Of the update of each site, all arrays together, at most a norm C is taken, all sites weigh the same, and
normal noise of standard deviation z C is added to the sum (McMahan et al. 2018, arXiv:1710.06963). However
all windows of one site are replaced, the sum moves by at most 2 C; which sites there are and which of them
answer is taken to be known. The coordinator sees the updates: it is those who get the models, other sites
first, that are kept from telling what a single site's data were.

Flower's `DifferentialPrivacyServerSideFixedClipping` cannot be put around ModalityFedAvg. It pairs arrays
of replies and state by place, where replies bring only what is trained; it leaves the weights to the
strategy, and those by windows let a large site move the average further than C / n; it adds noise to what
sites have no part in, such as the standardisation; it drops a round in which one site failed; its
accountant takes FedAvg alone; and its noise is that of numpy's global generator.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from condi_core.averaging import Aggregator, Arrays, SiteUpdate, average
from condi_core.config import PrivacyConfig
from condi_core.ownership import Owner, aggregation_weights


def aggregator_for(privacy: PrivacyConfig, clip: float, otherwise: Aggregator = average) -> Aggregator:
    """What a phase averages by: with noise, or as ever."""
    if not privacy.noise_multiplier:
        return otherwise
    return partial(private_average, clip=clip, noise_multiplier=privacy.noise_multiplier)


def privacy_budget(privacy: PrivacyConfig, averages: int) -> dict[str, float]:
    """What a run has cost, for its result."""
    bound = epsilon(privacy.noise_multiplier, averages, privacy.delta)
    settings = privacy.model_dump(by_alias=True, exclude={"smallest_count"})
    return {"epsilon": bound, "averages": averages, **settings}


def private_average(
    base: Arrays,
    owners: dict[str, Owner],
    trained: Sequence[SiteUpdate],
    clip: float,
    noise_multiplier: float,
) -> Arrays:
    """`base` plus the mean of the sites' clipped updates, with noise of `noise_multiplier * clip / sites`.

    `trained` as in `average`; windows decide only whether a site has a part in a piece at all. Where it has
    none its update is zero and counts as such, as do rows that it lacks: a bound holds for all pieces
    together, and does not depend on who has what.
    """
    total = {name: np.zeros(base[name].shape) for name in trained[0][0]}
    for arrays, counts, windows, *_ in trained:
        update = {
            name: (a.astype(np.float64) - base[name])
            * (aggregation_weights(owners[name], counts, windows, a.shape) > 0)
            for name, a in arrays.items()
        }
        for name, piece in clip_update(update, clip).items():
            total[name] += piece
    result = dict(base)
    for name, summed in total.items():
        noisy = summed + noise_multiplier * clip * secure_gaussian_noise(summed.shape)
        result[name] = (base[name] + noisy / len(trained)).astype(base[name].dtype)
    return result


def clip_update(update: Arrays, norm: float) -> Arrays:
    """The update, shortened as a whole to the L2 norm `norm` where it is longer."""
    length = math.sqrt(sum(float(np.square(piece).sum()) for piece in update.values()))
    return update if length <= norm else {name: piece * (norm / length) for name, piece in update.items()}


def secure_gaussian_noise(shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958) from the randomness of the operating system.

    No generator and no seed of the run is behind them, which a site could follow to take the noise off
    again. They cannot be drawn twice: a run that goes on from a checkpoint ends in other weights than one
    that was never stopped. As all noise of floating-point numbers they are normal up to rounding
    (Mironov 2012).
    """
    size = math.prod(shape)
    bits = np.frombuffer(os.urandom(16 * size), np.uint64).reshape(2, size) >> np.uint64(11)
    radius, angle = np.sqrt(-2 * np.log((bits[0] + 1.0) * 2.0**-53)), bits[1] * (2 * math.pi * 2.0**-53)
    return (radius * np.cos(angle)).reshape(shape)


def epsilon(noise_multiplier: float, averages: int, delta: float) -> float:
    """The epsilon of (epsilon, delta) differential privacy towards replacing all data of one site.

    Of `averages` in a row, each with noise of `noise_multiplier` times the clipping norm. Exact: T averages
    of a multiplier z are one Gaussian mechanism of sensitivity over noise mu = 2 sqrt(T) / z (Dong, Roth, Su
    2022, corollary 3.3), and of that one delta(epsilon) is known (Balle, Wang 2018, theorem 8).
    """
    mu = 2 * math.sqrt(averages) / noise_multiplier

    def log_cdf(x: float) -> float:
        return torch.special.log_ndtr(torch.tensor(x, dtype=torch.float64)).item()

    def reached(e: float) -> bool:
        first, second = log_cdf(mu / 2 - e / mu), e + log_cdf(-mu / 2 - e / mu)
        return -math.exp(first) * math.expm1(min(second - first, 0.0)) <= delta

    if not averages or reached(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while not reached(high):
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
