"""Client sampling: select the sites that train or score in a round when not all of them do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from condi_core.config import RunConfig

SiteSampler = Callable[[Sequence[str], int], list[str]]  # all sites, round from 1 → sites that train


def all_sites(sites: Sequence[str], server_round: int) -> list[str]:
    """Select all sites in every round."""
    return list(sites)


def site_sampler(config: RunConfig) -> SiteSampler:
    """Return the sampler of a run."""
    return partial(sample_sites, fraction=config.sites_per_round, seed=config.seed)


def evaluator_sampler(config: RunConfig) -> SiteSampler:
    """Return the sampler of the sites that score the weights which a round starts from.

    With the same fraction as for training, the sites that train in the round are those that score.
    """
    return partial(sample_sites, fraction=config.sites_per_evaluation, seed=config.seed)


def num_sampled_sites(num_sites: int, fraction: float) -> int:
    """Return the number of sites that train in a round; at least one."""
    return max(1, round(fraction * num_sites))


def sample_sites(sites: Sequence[str], server_round: int, *, fraction: float, seed: int) -> list[str]:
    """Select the sites that train in a round.

    Sites are shuffled and taken group by group; then they are shuffled again. So each site trains once in
    every ceil(sites / group size) rounds, or twice where the last group is filled up, which FedAvg's
    independent draws (McMahan et al. 2017) do not promise.

    Parameters
    ----------
    sites : sequence of str
        Names of all sites, in the roster's order.
    server_round : int
        Number of the round, from 1.
    fraction : float
        Fraction of sites that train, in (0, 1].
    seed : int
        Seed of the run. The selection depends on it, the round and the names alone, so that a resumed run
        asks the sites that it would have asked.

    Returns
    -------
    list of str
        The selected sites, in the order of `sites`.
    """
    size = num_sampled_sites(len(sites), fraction)
    num_groups = math.ceil(len(sites) / size)
    cycle, group = divmod(server_round - 1, num_groups)
    order = np.random.default_rng([seed, cycle]).permutation(len(sites))
    return [sites[i] for i in sorted(np.resize(order, num_groups * size)[group * size : (group + 1) * size])]
