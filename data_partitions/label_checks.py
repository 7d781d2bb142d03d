"""Which labels a window may have under each kind of task. A new kind of task has one entry here."""

from collections.abc import Callable, Iterator

import pandas as pd

# (label columns of the windows, as text) → for each rule, the windows that break it, and how
LabelCheck = Callable[[pd.DataFrame], Iterator[tuple[pd.Series, str]]]


def _check_any_number(labels: pd.DataFrame) -> Iterator[tuple[pd.Series, str]]:
    for name in labels:
        yield ~labels[name].isin(["0", "1"]), f"has a value of label {name} that is not 0 or 1"


def _check_exactly_one(labels: pd.DataFrame) -> Iterator[tuple[pd.Series, str]]:
    yield from _check_any_number(labels)
    yield (labels == "1").sum(axis=1) != 1, "must have exactly one label, as the task is single-label"


LABEL_CHECKS: dict[str, LabelCheck] = {
    "multi-label": _check_any_number,
    "single-label": _check_exactly_one,
}
