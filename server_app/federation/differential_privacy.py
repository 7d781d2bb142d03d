"""Differential privacy of sites: a round's average with noise, and the privacy that it spends.

The update of each site, all arrays together, is clipped to a norm C, all sites have the same weight, and
Gaussian noise of standard deviation z C is added to the sum (McMahan et al. 2018, arXiv:1710.06963). If all
windows of one site are replaced, the sum moves by at most 2 C. Whether a site answers can depend on its data,
so a site whose reply is missing or refused counts with an update of zero: the divisor is the number of sites
that were asked, and only which sites exist is assumed to be public. The coordinator sees the updates. The
guarantee holds against those who receive the models, above all other sites: they learn little about the data
of a single site.

Flower's `DifferentialPrivacyServerSideFixedClipping` cannot wrap ModalityFedAvg. It pairs arrays of replies
and state by position, but replies have only the trained arrays; it leaves the weights to the strategy, and
weights by windows let a large site move the average by more than C / n; it adds noise to arrays that sites
do not train, such as the standardisation; it drops a round in which one site failed; its accountant covers
FedAvg only; and its noise comes from numpy's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from condi_core.averaging import Arrays, SiteUpdate
from condi_core.ownership import Owner, aggregation_weights
from condi_core.privacy.noise import secure_gaussian_noise
from condi_core.privacy_config import PrivacyConfig


def privacy_budget(privacy: PrivacyConfig, averages: int) -> dict[str, float]:
    """Return the privacy that a run has spent, for its result."""
    bound = compute_site_epsilon(privacy.noise_multiplier, averages, privacy.delta)
    settings = privacy.model_dump(
        by_alias=True, include={"noise_multiplier", "clip_imputer", "clip_task", "delta"}
    )
    return {"epsilon": bound, "averages": averages, **settings}


def private_average(
    base: Arrays,
    owners: dict[str, Owner],
    updates: Sequence[SiteUpdate],
    clip: float,
    noise_multiplier: float,
    num_sites: int,
) -> Arrays:
    """Add the mean of the sites' clipped updates to a state, with noise.

    Parameters
    ----------
    base : Arrays
        The state that sites started from.
    owners : dict of str to Owner
        What each array belongs to. A site that has not trained a piece counts with an update of zero there:
        the bound holds for all pieces together, and does not depend on which modalities a site has.
    updates : sequence of SiteUpdate
        What each site trained. Its windows decide only whether it has trained a piece at all.
    clip : float
        L2 norm to which a site's update is clipped.
    noise_multiplier : float
        Standard deviation of the noise in the sum, in units of `clip`.
    num_sites : int
        Number of sites that were asked, over which the mean is.

    Returns
    -------
    Arrays
        The next state.
    """
    total = {name: np.zeros(base[name].shape) for name in updates[0].arrays}
    for update in updates:
        change = {
            name: (array.astype(np.float64) - base[name])
            * (aggregation_weights(owners[name], update.counts, update.windows, array.shape) > 0)
            for name, array in update.arrays.items()
        }
        for name, piece in clip_update(change, clip).items():
            total[name] += piece
    result = dict(base)
    for name, summed in total.items():
        noisy = summed + noise_multiplier * clip * secure_gaussian_noise(summed.shape)
        result[name] = (base[name] + noisy / num_sites).astype(base[name].dtype)
    return result


def clip_update(update: Arrays, norm: float) -> Arrays:
    """Scale all arrays of an update by one factor, so that their joint L2 norm is at most `norm`."""
    length = math.sqrt(sum(float(np.square(piece).sum()) for piece in update.values()))
    return update if length <= norm else {name: piece * (norm / length) for name, piece in update.items()}


def compute_site_epsilon(noise_multiplier: float, averages: int, delta: float) -> float:
    """Return the epsilon of (epsilon, delta) differential privacy when all data of one site are replaced.

    The bound is exact: T averages of a multiplier z are one Gaussian mechanism of sensitivity over noise
    mu = 2 sqrt(T) / z (Dong, Roth, Su 2022, corollary 3.3), whose delta(epsilon) is known (Balle, Wang 2018,
    theorem 8).

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise of each sum, in units of the clipping norm.
    averages : int
        Number of averages that were released.
    delta : float
        The delta at which epsilon is sought.

    Returns
    -------
    float
        The smallest epsilon, to a relative precision of 1e-9.
    """
    mu = 2 * math.sqrt(averages) / noise_multiplier

    def log_cdf(x: float) -> float:
        return torch.special.log_ndtr(torch.tensor(x, dtype=torch.float64)).item()

    def is_reached(e: float) -> bool:
        first, second = log_cdf(mu / 2 - e / mu), e + log_cdf(-mu / 2 - e / mu)
        return -math.exp(first) * math.expm1(min(second - first, 0.0)) <= delta

    if not averages or is_reached(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while not is_reached(high):
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_reached(middle) else (middle, high)
    return high
