"""Check which labels a window has under each kind of task. A new kind of task needs one entry here."""

from collections.abc import Callable, Iterator

import pandas as pd

# (label columns of the windows, as text) → for each rule, a mask of the windows that break it, and the fault
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
