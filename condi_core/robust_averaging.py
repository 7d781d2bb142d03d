"""Rules that bound what one site can do to the average of a round.

A rule changes the updates of a round, and the aggregator of the method then combines what it returns. A
majority is needed to recognise an outlier, so a piece that fewer than `MIN_OWNERS` sites trained gets the
norm bound under every rule except `mean`. `limit_claims` bounds the weight that a site claims, before any
rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from condi_core.averaging import Aggregator, Arrays, SiteUpdate, site_weights
from condi_core.ownership import Owner

MIN_OWNERS = 3
NORM_FACTOR = 2.0  # a site's change may be this many times as large as the median change
TRIMMED_SHARE = 0.2  # of the sites, at each end; at least one site

Owners = dict[str, Owner]
Changes = dict[str, tuple[np.ndarray, int]]  # by name: the change, and how many of its numbers were trained
Rule = Callable[[Arrays, Owners, Sequence[SiteUpdate]], list[SiteUpdate]]


def robust_aggregator(rule: str, aggregate: Aggregator, reestimates: bool = False) -> Aggregator:
    """Return an aggregator that applies a rule to the updates before `aggregate` combines them.

    Parameters
    ----------
    rule : one of `RULES`
    aggregate : combines updates
    reestimates : whether sites send new estimates, which do not start from the state. Long ones are then
        shortened towards zero, as a mixture with the state would be the estimate of no data.
    """

    def aggregate_robustly(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> Arrays:
        origin = {name: np.zeros_like(array) for name, array in base.items()} if reestimates else base
        return aggregate(base, owners, RULES[rule](origin, owners, updates))

    return aggregate_robustly


def limit_claims(updates: Sequence[SiteUpdate], max_ratio: float) -> list[SiteUpdate]:
    """Limit the numbers that a site claims, by the lower medians over sites.

    Its windows, which weigh its update, are at most `max_ratio` times the median. Its steps, by which FedNova
    divides its update, are at least the median divided by `max_ratio`.
    """
    most_windows = max_ratio * _lower_median([update.windows for update in updates])
    fewest_steps = math.ceil(_lower_median([update.steps for update in updates]) / max_ratio)
    limited = [update._replace(steps=max(update.steps, fewest_steps)) for update in updates]
    return [
        update
        if update.windows <= most_windows
        else update._replace(windows=most_windows, counts=update.counts * (most_windows / update.windows))
        for update in limited
    ]


def keep_updates(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Change nothing: the plain mean."""
    return list(updates)


def bound_norms(base: Arrays, owners: Owners, updates: Sequence[SiteUpdate]) -> list[SiteUpdate]:
    """Shorten updates whose root mean square is more than `NORM_FACTOR` times the lower median of all sites.

    Sun et al. 2019, arXiv:1911.07963, with a bound from the round itself, and per number that a site trained,
    so that a site with many modalities may change more numbers than one with few. Updates of zero say nothing
    about the usual length and are not counted. With two sites the bound is from the shorter update, so that
    neither can raise it.
    """
    changes = [_trained_changes(base, owners, update) for update in updates]
    sizes = [_root_mean_square(change) for change in changes]
    bound = NORM_FACTOR * _lower_median([size for size in sizes if size > 0] or [0.0])
    return [
        update if size <= bound else update._replace(arrays=_shorten(base, change, bound / size))
        for update, change, size in zip(updates, changes, sizes, strict=True)
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
    than four sites no site is excluded. A site that shares nothing with others cannot be compared, and pieces
    most of whose owners would be excluded have no majority: there the norm bound is all.
    """
    bounded = bound_norms(base, owners, updates)
    number = len(updates)
    num_excluded = number // 4
    if not num_excluded:
        return bounded
    nearest = np.sort(_distances(base, owners, updates), 1)[:, : max(1, number - num_excluded - 2)]
    known = np.isfinite(nearest)
    scores = np.where(known, nearest, 0).sum(1) / np.maximum(known.sum(1), 1)
    farthest = np.argsort(np.where(known.any(1), scores, -1), kind="stable")[number - num_excluded :]
    excluded = {int(i) for i in farthest if known[i].any()}
    is_owner = np.stack([update.counts > 0 for update in updates])
    num_owners, num_remaining = is_owner.sum(0), is_owner[[i not in excluded for i in range(number)]].sum(0)
    has_majority = (num_owners >= MIN_OWNERS) & (2 * num_remaining > num_owners)
    return [
        update._replace(windows=0.0, counts=np.where(has_majority, 0, update.counts))
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


def _root_mean_square(change: Changes) -> float:
    """Return the root mean square of the numbers that the site trained; zero when it trained none."""
    squares = sum(float(np.square(array).sum()) for array, _ in change.values())
    return float(np.sqrt(squares / max(sum(number for _, number in change.values()), 1)))


def _trained_changes(base: Arrays, owners: Owners, update: SiteUpdate) -> Changes:
    """Return the change of each array, zero where the site did not train, and how many numbers it trained."""
    changes = {}
    for name, array in update.arrays.items():
        (weight,) = site_weights(owners[name], [update], array.shape)
        trained = np.broadcast_to(weight > 0, array.shape)
        changes[name] = np.where(trained, array.astype(np.float64) - base[name], 0), int(trained.sum())
    return changes


def _shorten(base: Arrays, changes: Changes, factor: float) -> Arrays:
    return {
        name: (base[name] + factor * change).astype(base[name].dtype) for name, (change, _) in changes.items()
    }


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
