"""How the coordinator computes the next state of a model from the sites' updates, in pure numpy.

A state is a flat dictionary of named arrays. Names with a slash stay at the coordinator: `site/name` is one
site's version of `name`, which is sent to that site only, and a name with more slashes is state that an
aggregation rule keeps between rounds. The checkpoint holds all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from condi_core.ownership import Owner, aggregation_weights

Arrays = dict[str, np.ndarray]


class SiteUpdate(NamedTuple):
    """What a site returns from a round of training.

    Attributes
    ----------
    arrays : trained arrays by name
    counts : (modality, modality), windows in which both modalities were observed; see `aggregation_weights`
    windows : number of windows the site trained on
    steps : optimiser steps
    site : name of the site
    """

    arrays: Arrays
    counts: np.ndarray
    windows: float
    steps: int = 1
    site: str = ""


# (state, owners by name, updates of all sites that answered) → next state
Aggregator = Callable[[Arrays, dict[str, Owner], Sequence[SiteUpdate]], Arrays]


def site_view(state: Arrays, site: str) -> Arrays:
    """Return the arrays of a state as a site receives them: its own version where one exists."""
    return {name: state.get(f"{site}/{name}", a) for name, a in state.items() if "/" not in name}


def has_site_versions(state: Arrays, sites: Collection[str]) -> bool:
    """Return whether a state holds a separate version for any of these sites."""
    return any(name.split("/")[0] in sites for name in state if name.count("/") == 1)


def average(base: Arrays, owners: dict[str, Owner], updates: Sequence[SiteUpdate]) -> Arrays:
    """Average the updates by FedAvg (McMahan et al. 2017) per modality.

    Each piece is averaged over the sites that trained it, as a ratio of two sums, Σ weight × piece over
    Σ weight. A piece is a row where an array has one row per modality, a block where it has one block per
    pair of modalities, and otherwise the entire array. A piece that no site trained keeps its value.

    Parameters
    ----------
    base : the state at the start of the round
    owners : owner of each array
    updates : of the sites that answered

    Returns
    -------
    Arrays, the next state
    """
    result = dict(base)
    for name in updates[0].arrays if updates else ():
        old = base[name]
        pieces = (update.arrays[name] for update in updates)
        weights = site_weights(owners[name], updates, old.shape)
        result[name] = weighted_mean(pieces, weights, old).astype(old.dtype)
    return result


def keep_separate(base: Arrays, owners: dict[str, Owner], updates: Sequence[SiteUpdate]) -> Arrays:
    """Average nothing: each site continues from its own update. Parameters as in `average`."""
    result = dict(base)
    for update in updates:
        separate = average(site_view(base, update.site), owners, [update])
        result |= {f"{update.site}/{name}": separate[name] for name in update.arrays}
    return result


def count_pairs(present: np.ndarray, windows: float) -> np.ndarray:
    """Return the `counts` of an update, from which modalities each window of the round had.

    A modality counts for the fraction of the round's windows that had it.

    Parameters
    ----------
    present : bool (window, modality), of the windows of the round
    windows : number of windows of the site
    """
    had = present.astype(np.float64)
    return windows * (had.T @ had / len(had))


def site_weights(owner: Owner, updates: Sequence[SiteUpdate], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the aggregation weights of all sites, broadcastable to `shape`."""
    return [aggregation_weights(owner, update.counts, update.windows, shape) for update in updates]


def weighted_mean(
    pieces: Iterable[np.ndarray], weights: Sequence[np.ndarray], default: np.ndarray
) -> np.ndarray:
    """Compute a weighted mean in float64.

    Parameters
    ----------
    pieces : one array per site, all of one shape
    weights : one array per site, broadcastable to that shape
    default : the result where all weights are zero

    Returns
    -------
    ndarray, float64
    """
    total: np.ndarray | float = 0.0
    total_weight: np.ndarray | float = 0.0
    for piece, weight in zip(pieces, weights, strict=True):
        total = total + weight * piece.astype(np.float64)
        total_weight = total_weight + weight
    has_weight = np.broadcast_to(np.asarray(total_weight) > 0, default.shape)
    return np.divide(total, total_weight, out=default.astype(np.float64), where=has_weight)
