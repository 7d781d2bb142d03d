"""Rules that bound what one site can do to the average of a round.

A rule changes the updates of a round, and the aggregator of the method then combines what it returns. All
rules first limit how many windows a site counts for. A majority is needed to recognise an outlier, so a piece
that fewer than `MIN_OWNERS` sites trained gets the norm bound under every rule except `mean`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from condi_core.averaging import Aggregator, Arrays, SiteUpdate, site_weights
from condi_core.ownership import Owner

MIN_OWNERS = 3
NORM_FACTOR = 2.0  # a site's update may be this many times as long as the median update
TRIMMED_SHARE = 0.2  # of the sites, at each end; at least one site

Owners = dict[str, Owner]
Rule = Callable[[Arrays, Owners, Sequence[SiteUpdate]], list[SiteUpdate]]


def robust_aggregator(rule: str, aggregate: Aggregator, max_window_ratio: float) -> Aggregator:
    """Return an aggregator that applies a rule to the updates before `aggregate` combines them.

    Parameters
    ----------
    rule : one of `RULES`
    aggregate : combines updates
    max_window_ratio : a site counts for at most this many times the windows of the median site
    """

    def aggregate_robustly(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> Arrays:
        limited = limit_windows(updates, max_window_ratio)
        return aggregate(base, owners, RULES[rule](base, owners, limited))

    return aggregate_robustly


def limit_windows(updates: Sequence[SiteUpdate], max_ratio: float) -> list[SiteUpdate]:
    """Limit the windows that a site counts for to a multiple of the lower median over sites."""
    limit = max_ratio * _lower_median([update.windows for update in updates])
    return [
        update
        if update.windows <= limit
        else update._replace(windows=limit, counts=update.counts * (limit / update.windows))
        for update in updates
    ]


def keep_updates(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Change nothing: the plain mean."""
    return list(updates)


def bound_norms(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Shorten updates that are longer than `NORM_FACTOR` times the lower median of their L2 norms.

    Sun et al. 2019, arXiv:1911.07963, with a bound from the round itself. With two sites the bound is from
    the shorter update, so that neither site can raise it.
    """
    changes = [_trained_changes(base, owners, update) for update in updates]
    norms = [float(np.sqrt(sum(np.square(c).sum() for c in change.values()))) for change in changes]
    bound = NORM_FACTOR * _lower_median(norms)
    return [
        update if norm <= bound else update._replace(arrays=_shorten(base, change, bound / norm))
        for update, change, norm in zip(updates, changes, norms, strict=True)
    ]


def take_median(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Replace each number by its median over the owners (Yin et al. 2018, arXiv:1803.01498)."""
    return _merge_updates(base, owners, updates, lambda values, number: np.nanmedian(values, 0))


def trim_mean(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Replace each number by its mean over the owners without the largest and the smallest values.

    Yin et al. 2018, arXiv:1803.01498, definition 2.
    """

    def trimmed_mean(values: np.ndarray, number: np.ndarray) -> np.ndarray:
        trimmed = np.maximum(1, np.floor(TRIMMED_SHARE * number))
        position = np.arange(len(values)).reshape(-1, *(1,) * (values.ndim - 1))
        central = (position >= trimmed) & (position < number - trimmed)
        ordered = np.sort(values, 0)  # NaN is last
        return np.where(central, ordered, 0).sum(0) / np.maximum(central.sum(0), 1)

    return _merge_updates(base, owners, updates, trimmed_mean)


def select_by_krum(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Exclude the quarter of the sites whose updates are farthest from those of others (multi-Krum).

    Blanchard et al. 2017 (NeurIPS 30), with distances over what both sites trained, per number. With fewer
    than four sites no site is excluded.
    """
    bounded = bound_norms(base, owners, updates)
    number = len(updates)
    num_excluded = number // 4
    if not num_excluded:
        return bounded
    nearest = np.sort(_distances(base, owners, updates), 1)[:, : max(1, number - num_excluded - 2)]
    known = np.isfinite(nearest)
    # A site that shares nothing with the others cannot be compared; it has the norm bound.
    scores = np.where(known, nearest, 0).sum(1) / np.maximum(known.sum(1), 1)
    excluded = set(np.argsort(scores, kind="stable")[number - num_excluded :].tolist())
    num_owners = sum((update.counts > 0).astype(int) for update in updates)
    return [
        update._replace(windows=0.0, counts=np.where(num_owners < MIN_OWNERS, update.counts, 0))
        if i in excluded
        else update
        for i, update in enumerate(bounded)
    ]


RULES: dict[str, Rule] = {
    "mean": keep_updates,
    "norm-bound": bound_norms,
    "median": take_median,
    "trimmed-mean": trim_mean,
    "krum": select_by_krum,
}


def _lower_median(values: Sequence[float]) -> float:
    return float(sorted(values)[(len(values) - 1) // 2])


def _trained_changes(base: Arrays, owners: Owners, update: SiteUpdate) -> Arrays:
    """Return the change of each array, zero in pieces that the site did not train."""
    changes = {}
    for name, array in update.arrays.items():
        (weight,) = site_weights(owners[name], [update], array.shape)
        changes[name] = np.where(weight > 0, array.astype(np.float64) - base[name], 0)
    return changes


def _shorten(base: Arrays, changes: Arrays, factor: float) -> Arrays:
    return {name: (base[name] + factor * change).astype(base[name].dtype) for name, change in changes.items()}


def _merge_updates(
    base: Arrays,
    owners: Owners,
    updates: Sequence[SiteUpdate],
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> list[SiteUpdate]:
    """Give all owners of a piece its combined value, or the norm bound where they are too few.

    `combine` maps values (site, ...), NaN where a site is not an owner, and the number of owners (...) to one
    value. All sites then have the same value, so that any aggregator returns it.
    """
    bounded = bound_norms(base, owners, updates)
    merged: list[Arrays] = [{} for _ in updates]
    for name in updates[0].arrays:
        shape = base[name].shape
        weights = site_weights(owners[name], updates, shape)
        is_owner = np.stack([np.broadcast_to(weight > 0, shape) for weight in weights])
        number = is_owner.sum(0)
        enough = number >= MIN_OWNERS
        values = np.where(is_owner, np.stack([update.arrays[name] for update in updates]), np.nan)
        combined = combine(np.where(enough, values, 0.0), number)
        for arrays, update in zip(merged, bounded, strict=True):
            arrays[name] = np.where(enough, combined, update.arrays[name]).astype(base[name].dtype)
    return [update._replace(arrays=arrays) for update, arrays in zip(bounded, merged, strict=True)]


def _distances(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> np.ndarray:
    """Return the mean squared difference of each pair of sites over what both trained; infinite without."""
    number = len(updates)
    squares, entries = np.zeros((number, number)), np.zeros((number, number))
    for name in updates[0].arrays:
        shape = base[name].shape
        weights = site_weights(owners[name], updates, shape)
        trained = [np.broadcast_to(weight > 0, shape) for weight in weights]
        for i in range(number):
            for j in range(i):
                both = trained[i] & trained[j]
                difference = updates[i].arrays[name].astype(np.float64) - updates[j].arrays[name]
                squares[i, j] += np.square(difference[both]).sum()
                entries[i, j] += both.sum()
    squares, entries = squares + squares.T, entries + entries.T
    distances = np.divide(squares, entries, out=np.full_like(squares, np.inf), where=entries > 0)
    np.fill_diagonal(distances, np.inf)
    return distances
