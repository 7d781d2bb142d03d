"""Check which labels a window has under each kind of task. A new kind of task needs one entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the node of a site reads policies with this package, and needs no tables
    import pandas as pd

# (label columns of the windows, as text) → for each rule, a mask of the windows that break it, and the fault
LabelCheck = Callable[["pd.DataFrame"], Iterator[tuple["pd.Series", str]]]

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LabelRule:
    """Which labels a kind of task has."""

    # Finds windows whose labels break a rule of the kind; it only gets windows that have labels.
    check: LabelCheck
    fewest: int = 1  # number of labels of the kind
    most: float = np.inf

    def check_number(self, labels: int) -> None:
        """Raise ValueError unless the kind can have this number of labels."""
        if not self.fewest <= labels <= self.most:
            expected = f"{self.fewest}" if self.fewest == self.most else f"at least {self.fewest}"
            raise ValueError(f"expected {expected} label(s) for this task, got {labels}")


def _check_zero_or_one(labels: pd.DataFrame) -> Iterator[tuple[pd.Series, str]]:
    for name in labels:
        yield ~labels[name].isin(["0", "1"]), f"has a value of label {name} that is not 0 or 1"


def _check_exactly_one(labels: pd.DataFrame) -> Iterator[tuple[pd.Series, str]]:
    yield from _check_zero_or_one(labels)
    yield (labels == "1").sum(axis=1) != 1, "must have exactly one label, as the task has exclusive labels"


def _check_numbers(labels: pd.DataFrame) -> Iterator[tuple[pd.Series, str]]:
    from pandas import to_numeric

    for name in labels:
        is_finite = to_numeric(labels[name], errors="coerce").between(-FLOAT32_MAX, FLOAT32_MAX)
        yield ~is_finite, f"has a value of label {name} that is not a finite number"


def _check_nothing(labels: pd.DataFrame) -> Iterator[tuple[pd.Series, str]]:
    yield from ()


LABEL_RULES: dict[str, LabelRule] = {
    "none": LabelRule(_check_nothing, fewest=0, most=0),
    "binary": LabelRule(_check_zero_or_one, most=1),
    "single-label": LabelRule(_check_exactly_one),
    "multi-label": LabelRule(_check_zero_or_one),
    "ordinal": LabelRule(_check_exactly_one),
    "regression": LabelRule(_check_numbers),
}
