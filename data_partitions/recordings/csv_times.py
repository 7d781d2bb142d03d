"""Times of the rows of a csv file, as steps of a regular grid."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from data_partitions.description.durations import SECONDS
from data_partitions.description.time_texts import parse_clock
from data_partitions.sentences import shorten

MICROSECONDS = 1_000_000
HOUR = 3600 * MICROSECONDS
MAX_DISTANCE = 0.25  # from a row to its step, in steps
MAX_STEPS_PER_ROW = 10_000  # more would be rows without a grid
_UNIT_OF_WORD = {
    word: unit
    for unit, words in {
        "ms": "ms msec millisecond milliseconds",
        "s": "s sec secs second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
    }.items()
    for word in words.split()
}
_TIME_WORDS = {"time", "timestamp", "datetime", "date", "charttime", "elapsed", "offset"}
# Columns that begin with one of these are times; "HR" is not, as it is the heart rate.
_FIRST_WORDS = {
    "hour",
    "hours",
    "minute",
    "minutes",
    "min",
    "mins",
    "second",
    "seconds",
    "sec",
    "day",
    "days",
}


class Grid(NamedTuple):
    """Where the rows of a file are in time."""

    steps: np.ndarray  # int64 `(row,)`, the step of each row, in ascending order
    rows: np.ndarray  # int64 `(row,)`, the number of the row at each of these steps
    step: float  # length of a step, in µs
    start: datetime | None  # date and time of step 0; None for elapsed times
    unit: float = 0.0  # unit of elapsed times that are written as numbers, in µs; 0 for all others

    @property
    def num_steps(self) -> int:
        """Steps up to the last row."""
        return int(self.steps[-1]) + 1

    @property
    def num_backward(self) -> int:
        """Rows whose time is earlier than that of the row before."""
        return int((np.diff(np.argsort(self.rows)) < 0).sum())


class TimeError(ValueError):
    """The time of a row cannot be used; the message is what follows the name of the file."""


def is_time_column(name: str) -> bool:
    """Whether a column is one of times, by its name."""
    words = _words(name)
    return not _TIME_WORDS.isdisjoint(words) or words[:1] != [] and words[0] in _FIRST_WORDS


def unit_in_name(name: str) -> str:
    """Return the unit that the name of a column states, such as "h" for "hours" or "time (h)"; or ""."""
    units = {_UNIT_OF_WORD[word] for word in _words(name) if word in _UNIT_OF_WORD}
    return units.pop() if len(units) == 1 else ""


def place_rows(
    cells: Sequence[str],
    name: str,
    unit: str = "",
    form: str = "",
    decimal: str = ".",
    rate: float | None = None,
) -> Grid:
    """Place rows on a grid by their times, in any order.

    Without a unit ("datetime" for time stamps), it is taken from the name of the column and the cells.
    Without a rate (Hz), the steps are the longest that fit all rows, and fit in an hour if times are in
    hours. TimeError when a time cannot be read, or two rows have the same; the rows have no grid; the unit is
    not known; or elapsed times of the form HH:MM go back, which may be times of day.
    """
    unit = unit or unit_in_name(name) or _unit_of_cell(cells[0], name, decimal)
    scale = SECONDS.get(unit, 0) * MICROSECONDS
    start: datetime | None = None
    clocks = unit != "datetime" and parse_clock(cells[0]) is not None
    if unit == "datetime":
        times = np.array([_parse_stamp(cell, row, name, form) for row, cell in enumerate(cells, 2)])
        first = times.min()
        start = datetime.fromtimestamp(first / MICROSECONDS, UTC).replace(tzinfo=None)
        times = times - first
    else:
        elapsed = [_parse_elapsed(cell, row, name, decimal, scale) for row, cell in enumerate(cells, 2)]
        times = np.round(elapsed).astype(np.int64)
    if clocks:
        _require_no_times_of_day(cells, name, times)
    rows = np.argsort(times, kind="stable")
    times = times[rows]
    equal = np.flatnonzero(np.diff(times) == 0)
    if len(equal):
        row, other = (int(number) for number in rows[equal[0] : equal[0] + 2])
        raise TimeError(
            f'rows {row + 2} and {other + 2} have the {shorten(name)} "{shorten(cells[row], 30)}" and '
            f'"{shorten(cells[other], 30)}", which are the same time: give each time one row'
        )
    step = MICROSECONDS / rate if rate else float(np.gcd.reduce(times))
    if not rate and unit == "h":
        step = float(math.gcd(int(step), HOUR))
    step = step or float(HOUR)
    positions = times / step
    steps = np.round(positions).astype(np.int64)
    distance = np.abs(positions - steps)
    if (
        distance.max() > MAX_DISTANCE
        or (np.diff(steps) == 0).any()
        or steps[-1] > MAX_STEPS_PER_ROW * len(steps)
    ):
        row = int(rows[np.argmax(distance)])
        raise TimeError(
            f'the times are on no regular grid, such as "{shorten(cells[row], 30)}" in row {row + 2}: round '
            f"them to steps of {_describe_step(step)}"
            if rate
            else f"the times are on no regular grid, such as hours: round the {shorten(name)} of each row"
        )
    return Grid(steps, rows, step, start, 0.0 if clocks else scale)


def _require_no_times_of_day(cells: Sequence[str], name: str, times: np.ndarray) -> None:
    """Raise TimeError when times go back: after midnight they would come before those of the evening."""
    backward = np.flatnonzero(np.diff(times) < 0)
    if len(backward):
        row = int(backward[0])
        raise TimeError(
            f'row {row + 3} has the {shorten(name)} "{shorten(cells[row + 1], 30)}" after '
            f'"{shorten(cells[row], 30)}", expected the time since the start of the recording: if it is the '
            'time of day, name the column of the date too, as in time = "{date} {clock}"'
        )


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())


def _unit_of_cell(cell: str, name: str, decimal: str) -> str:
    if parse_clock(cell) is not None:
        return "h"
    try:
        float(cell.replace(decimal, "."))
    except ValueError:
        return "datetime"
    raise TimeError(
        f'the unit of the column "{shorten(name)}" is not known: call it hour, minute or second, or give '
        "time-unit in the description"
    )


def _parse_elapsed(cell: str, row: int, name: str, decimal: str, scale: float) -> float:
    """Return an elapsed time in µs, of which a number counts units of `scale` µs."""
    seconds = parse_clock(cell)
    if seconds is not None:
        time = seconds * MICROSECONDS
    else:
        try:
            time = float(cell.replace(decimal, ".")) * scale
        except ValueError:
            time = math.nan
    if not 0 <= time < 1e9 * max(scale, MICROSECONDS):
        raise TimeError(
            f'row {row} has the {shorten(name)} "{shorten(cell, 30)}", expected a number from 0 on, or HH:MM'
        )
    return time


def _parse_stamp(cell: str, row: int, name: str, form: str) -> int:
    try:
        stamp = datetime.strptime(cell.strip(), form) if form else datetime.fromisoformat(cell.strip())
        stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        return round(stamp.timestamp() * MICROSECONDS)
    except (ValueError, OverflowError):
        expected = f'the format "{form}"' if form else "a time stamp such as 2026-01-31 12:00:00"
        raise TimeError(
            f'row {row} has the {shorten(name)} "{shorten(cell, 30)}", expected {expected}: give its '
            "time-format in the description"
        ) from None


def _describe_step(step: float) -> str:
    seconds = step / MICROSECONDS
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"
