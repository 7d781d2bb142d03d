"""Which sites train in a round, where not all of them do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from condi_core.config import RunConfig


def site_sampler(config: RunConfig) -> Callable[[Sequence[str], int], list[str]]:
    """Who trains in a round of a run, from all sites and the number of the round."""
    return partial(sample_sites, share=config.sites_per_round, seed=config.seed)


def num_sampled_sites(sites: int, share: float) -> int:
    """Number of sites that a share of them is; at least one."""
    return max(1, round(share * sites))


def sample_sites(sites: Sequence[str], round_: int, *, share: float, seed: int) -> list[str]:
    """The sites that train in a round (from 1), in the order of `sites`.

    All are shuffled and asked one group after the other; then they are shuffled anew. So each takes part
    once in every ceil(sites / asked) rounds, or twice where the last group is filled up, which FedAvg's
    independent draws (McMahan et al. 2017) do not promise. Depends on (seed, round) and the names alone: a
    run that goes on asks whom it would have asked.
    """
    n = num_sampled_sites(len(sites), share)
    turns = math.ceil(len(sites) / n)
    time_around, turn = divmod(round_ - 1, turns)
    order = np.random.default_rng([seed, time_around]).permutation(len(sites))
    return [sites[i] for i in sorted(np.resize(order, turns * n)[turn * n : (turn + 1) * n])]
