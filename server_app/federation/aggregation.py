"""Choose how the updates of a phase are aggregated, from the settings of a run."""

from __future__ import annotations

from functools import partial

from condi_core.averaging import Aggregator, average
from condi_core.config import RunConfig
from condi_core.robust_averaging import robust_aggregator
from server_app.federation.client_sampling import num_sampled_sites
from server_app.federation.differential_privacy import private_average


def choose_aggregator(
    config: RunConfig,
    num_sites: int,
    clip: float | None,
    combine: Aggregator = average,
    reestimates: bool = False,
) -> Aggregator:
    """Return the aggregator of a phase.

    Parameters
    ----------
    config : RunConfig
    num_sites : int
        Number of sites of the phase.
    clip : float or None
        L2 norm of updates under differential privacy, whose clipping bounds the sites already; None for a
        phase without noise.
    combine : Aggregator
        How the phase combines updates otherwise.
    reestimates : bool
        Whether sites send new estimates; see `robust_aggregator`.
    """
    noise = config.privacy.noise_multiplier
    if noise and clip is not None:
        num_asked = num_sampled_sites(num_sites, config.sites_per_round)
        return partial(private_average, clip=clip, noise_multiplier=noise, num_sites=num_asked)
    if config.secure_aggregation:  # the coordinator has no single updates
        return combine
    return robust_aggregator(config.averaging, combine, reestimates)
