"""How the coordinator makes the next state of what sites have trained: pure numpy.

A state is a flat dictionary of named arrays, and a name with a slash in it stays at the coordinator:
`site/name` is a site's own version of `name`, which only that site is sent, and what has more slashes is
memory of a rule from round to round. All of it is in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from condi_core.ownership import Owner, aggregation_weights

Arrays = dict[str, np.ndarray]


class SiteUpdate(NamedTuple):
    """What a site sends back from a round of training."""

    arrays: Arrays
    counts: np.ndarray  # (modality, modality): windows in which both were there, see `ownership.weights`
    windows: float
    steps: int = 1
    site: str = ""


# State, owners, and what each site has trained → next state.
Aggregator = Callable[[Arrays, dict[str, Owner], Sequence[SiteUpdate]], Arrays]


def site_view(state: Arrays, site: str) -> Arrays:
    """The arrays of a state as a site has them: its own versions, and all others."""
    return {name: state.get(f"{site}/{name}", a) for name, a in state.items() if "/" not in name}


def has_site_versions(state: Arrays, sites: Collection[str]) -> bool:
    """Whether any of these sites has versions of its own in a state."""
    return any(name.split("/")[0] in sites for name in state if name.count("/") == 1)


def average(base: Arrays, owners: dict[str, Owner], trained: Sequence[SiteUpdate]) -> Arrays:
    """FedAvg (McMahan et al. 2017) per modality: the mean of each piece over the sites that trained it.

    A ratio of two sums, Σ weight × piece over Σ weight, per row where an array has one row per modality and
    per block where it has one per pair. What nobody trained keeps its value.
    """
    result = dict(base)
    for name in trained[0][0] if trained else ():
        old = base[name]
        pieces = (t[0][name] for t in trained)
        result[name] = weighted_mean(pieces, weights_of(owners[name], trained, old.shape), old).astype(
            old.dtype
        )
    return result


def keep_separate(base: Arrays, owners: dict[str, Owner], trained: Sequence[SiteUpdate]) -> Arrays:
    """Nothing is averaged: each site goes on with what it has trained itself."""
    result = dict(base)
    for t in trained:
        kept = average(site_view(base, t.site), owners, [t])
        result |= {f"{t.site}/{name}": kept[name] for name in t.arrays}
    return result


def weights_of(owner: Owner, trained: Sequence[SiteUpdate], shape: tuple[int, ...]) -> list[np.ndarray]:
    """What the pieces of all sites weigh, broadcastable to `shape`."""
    return [aggregation_weights(owner, counts, windows, shape) for _, counts, windows, *_ in trained]


def weighted_mean(pieces, weights: Sequence[np.ndarray], otherwise: np.ndarray) -> np.ndarray:
    """Weighted mean in float64; `otherwise` where nothing weighs."""
    total, weight = 0.0, 0.0
    for piece, w in zip(pieces, weights, strict=True):
        total, weight = total + w * piece.astype(np.float64), weight + w
    where = np.broadcast_to(weight > 0, otherwise.shape)
    return np.divide(total, weight, out=otherwise.astype(np.float64), where=where)
