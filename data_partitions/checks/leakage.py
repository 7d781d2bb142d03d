"""Whether the outcome is already known when a window ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from data_partitions.checks.finding import Finding, format_share
from data_partitions.sentences import count_noun

MAX_EARLY_SHARE = 0.01  # of the stays with the event that may end within the window
TELLING_AREA = 0.98  # area under the ROC curve beyond which a covariate is the outcome in other words
MIN_EVENTS = 10


def find_early_ends(ends: np.ndarray, events: np.ndarray, after: float) -> Iterator[Finding]:
    """Find stays that end before the window does, which tells the outcome.

    `ends` are those of the stays, or of their last measurements, and `after` that of the window, in s from
    the start of the window; NaN if unknown. `events` says which stays have the event.
    """
    known = ~np.isnan(ends)
    early = known & (ends < after)
    with_event, without = events & known, ~events & known
    if not early.any() or min(with_event.sum(), without.sum()) < MIN_EVENTS:
        return
    share_event, share_other = early[with_event].mean(), early[without].mean()
    if share_event > MAX_EARLY_SHARE and share_event > 2 * share_other:
        stays = f"{int(early[with_event].sum())} of {count_noun(int(with_event.sum()), 'stay')}"
        yield Finding(
            "warning",
            "task.after",
            f"{stays} with the event end before the window does ({format_share(share_event)}), and "
            f"{format_share(share_other)} of the others: the empty end of the window tells the outcome. "
            "Set task.after to the length of the window, with table.end, to leave them out",
        )


def find_telling_covariates(covariates: Mapping[str, np.ndarray], events: np.ndarray) -> Iterator[Finding]:
    """Find covariates that alone tell the outcome, because they were recorded after it.

    Covariates are numbers or positions of categories, `(stay,)`, NaN if missing.
    """
    for name, values in covariates.items():
        known = ~np.isnan(values)
        if min(events[known].sum(), (~events[known]).sum()) < MIN_EVENTS:
            continue
        area = _area_under_roc(values[known], events[known])
        if max(area, 1 - area) > TELLING_AREA:
            yield Finding(
                "warning",
                f"covariates.{name}",
                f"it alone tells the outcome (area under the ROC curve {max(area, 1 - area):.3f}): it was "
                "probably recorded after the outcome, leave it out",
            )


def _area_under_roc(values: np.ndarray, events: np.ndarray) -> float:
    """Return the share of pairs in which the stay with the event has the larger value; ties count half."""
    order = np.sort(values[~events])
    below = np.searchsorted(order, values[events], side="left")
    not_above = np.searchsorted(order, values[events], side="right")
    return float((below + not_above).mean() / (2 * len(order)))
