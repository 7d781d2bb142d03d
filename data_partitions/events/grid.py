"""Windows on a grid: several measurements in one step of a signal become one value."""

import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from data_partitions.signals.steps import Within

MAX_MEMORY_BYTES = 2**30  # windows that take more lie in a temporary file
NO_PREFERENCE = np.iinfo(np.int16).max
MEDIAN_ARRAYS = ("cell of median", "preference of median", "value of median")  # in an exported state


class GridSignal(NamedTuple):
    """A signal: how many steps a window has, the length of a step in µs, and which value of a step counts."""

    steps: int
    step: float
    within: Within


class GridWindows:
    """The values of windows, for measurements that come in any order.

    The values take 10 bytes for each step of each signal of each window; for a median, each of its
    measurements takes 22 bytes more.
    """

    def __init__(self, signals: Sequence[GridSignal], windows: int):
        self._signals = signals
        self._steps = np.array([signal.steps for signal in signals])
        self._offset = np.concatenate([[0], np.cumsum(self._steps)])
        self._length = np.array([signal.step for signal in signals])
        self._within = np.array([signal.within for signal in signals])
        cells = windows * int(self._offset[-1])
        self._value = _allocate(cells, np.float32, np.nan)
        # The second within the step of "last" and "first", the number of measurements of "mean".
        self._rank = _allocate(cells, np.float32, 0)
        self._preference = _allocate(cells, np.int16, NO_PREFERENCE)
        self._all: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # measurements of medians

    def add(
        self,
        window: np.ndarray,
        signal: np.ndarray,
        microseconds: np.ndarray,
        preference: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Add measurements: arrays `(event,)`, in the order of the files.

        Times are in µs since the start of the window, values in the unit of the signal. `preference` is the
        position of the channel among those of its signal: within a step, only values of the earliest one
        count.
        """
        # Times are rounded to whole µs, steps are not: 1/360 s.
        step = np.floor((microseconds + 0.5) / self._length[signal]).astype(np.int64)
        step = np.minimum(step, self._steps[signal] - 1)
        cell = window * self._offset[-1] + self._offset[signal] + step
        second = ((microseconds - step * self._length[signal]) / 1e6).astype(np.float32)
        for within in np.unique(self._within[signal]):
            rows = np.flatnonzero(self._within[signal] == within)
            if within == "median":
                self._all.append((cell[rows], preference[rows].astype(np.int16), values[rows]))
            else:
                self._merge(str(within), cell[rows], preference[rows], second[rows], values[rows])

    def read(self, window: int) -> list[np.ndarray]:
        """Return the values of a window: float32 `(step,)` of each signal, NaN where nothing was measured."""
        if self._all:
            self._add_medians()
        offset = self._offset.tolist()
        start = window * offset[-1]
        values = np.array(self._value[start : start + offset[-1]])
        return [values[first:last] for first, last in pairwise(offset)]

    def export_state(self) -> dict[str, np.ndarray]:
        """Return all measurements so far as arrays by name."""
        state = {"value": self._value, "rank": self._rank, "preference": self._preference}
        if self._all:
            of_medians = (np.concatenate(arrays) for arrays in zip(*self._all, strict=True))
            state |= dict(zip(MEDIAN_ARRAYS, of_medians, strict=True))
        return state

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all measurements by exported ones."""
        self._value[:], self._rank[:] = state["value"], state["rank"]
        self._preference[:] = state["preference"]
        cell, preference, value = (np.array(state.get(name, ())) for name in MEDIAN_ARRAYS)
        self._all = [(cell, preference, value)] if len(cell) else []

    def _merge(
        self, within: str, cell: np.ndarray, preference: np.ndarray, second: np.ndarray, value: np.ndarray
    ) -> None:
        """Reduce the measurements to one for each cell, and merge these with those of earlier parts."""
        if within == "first":  # the last one when times and rows are reversed
            cell, preference, second, value = (x[::-1] for x in (cell, preference, second, value))
        order = np.lexsort((-second if within == "first" else second, -preference, cell))
        cell, preference, second, value = (x[order] for x in (cell, preference, second, value))
        ends = np.flatnonzero(np.append(cell[1:] != cell[:-1], True))
        # Of a cell's measurements those of its preferred channel are the last in this order.
        new = np.append(True, (cell[1:] != cell[:-1]) | (preference[1:] != preference[:-1]))
        starts = np.flatnonzero(new)[np.cumsum(new)[ends] - 1]
        count = (ends - starts + 1).astype(np.float32)
        reduced = _reduce(within, value, starts, ends)
        cell, preference, second = cell[ends], preference[ends].astype(np.int16), second[ends]
        before = self._preference[cell]
        better, equal = preference < before, preference == before
        self._preference[cell[better]] = preference[better]
        old, rank = self._value[cell].astype(float), self._rank[cell]
        if within in ("last", "first"):
            replaces = second >= rank if within == "last" else second < rank
            merged, ranks = np.where(replaces, reduced, old), np.where(replaces, second, rank)
        elif within == "mean":
            merged, ranks = old + (reduced - old) * count / (rank + count), rank + count
        else:
            combine = {"min": np.fmin, "max": np.fmax, "sum": np.add}[within]
            merged, ranks = combine(old, reduced), rank
        first_rank = count if within == "mean" else second
        changed = better | equal
        self._value[cell[changed]] = np.where(better, reduced, merged)[changed]
        self._rank[cell[changed]] = np.where(better, first_rank, ranks)[changed]

    def _add_medians(self) -> None:
        cell, preference, value = (np.concatenate(arrays) for arrays in zip(*self._all, strict=True))
        self._all = []
        np.minimum.at(self._preference, cell, preference)
        preferred = preference == self._preference[cell]
        cell, value = cell[preferred], value[preferred]
        order = np.lexsort((value, cell))
        cell, value = cell[order], value[order]
        starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
        ends = np.append(starts[1:], len(cell)) - 1
        self._value[cell[starts]] = (value[(starts + ends) // 2] + value[(starts + ends + 1) // 2]) / 2


def _reduce(within: str, value: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Reduce the measurements from `starts` to `ends`, both included, of each cell; float64."""
    if within in ("last", "first"):
        return value[ends]
    bounds = np.column_stack([starts, ends + 1]).reshape(-1)
    padded = np.append(value, 0.0)  # reduceat wants every bound inside
    operation = {"min": np.minimum, "max": np.maximum}.get(within, np.add)
    reduced = operation.reduceat(padded, bounds)[::2]
    return reduced / (ends - starts + 1) if within == "mean" else reduced


def _allocate(cells: int, dtype: type, fill: float) -> np.ndarray:
    """Make a filled array, in a temporary file if it is large."""
    if cells * np.dtype(dtype).itemsize < MAX_MEMORY_BYTES or not cells:
        return np.full(cells, fill, dtype)
    array = np.memmap(tempfile.TemporaryFile(), dtype, "w+", shape=(cells,))
    array[:] = fill
    return array
