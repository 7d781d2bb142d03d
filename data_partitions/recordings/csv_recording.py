"""Csv files with a column for each variable and a row for each step of time.

A column of times, such as `hour` or `time (min)`, says which step a row is, in any order; steps without a
row are not observed. Times may also be in several columns. Without such a column, rows are samples at a
rate that the options state. An empty cell means that nothing was measured. A unit in the name of a column,
as in `HR (bpm)`, is that of its samples.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.column_names import split_unit
from data_partitions.description.time_texts import list_time_columns
from data_partitions.errors import DataError
from data_partitions.recordings.csv_output import CsvOutput
from data_partitions.recordings.csv_table import EMPTY_CELLS, CsvTable, CsvText, read_rows
from data_partitions.recordings.csv_times import (
    HOUR,
    MICROSECONDS,
    Grid,
    TimeError,
    is_time_column,
    place_rows,
)
from data_partitions.recordings.recording import Channel, Output, Recording
from data_partitions.sentences import count_noun, shorten

SUFFIXES = (".csv", ".csv.gz")


class CsvRecording:
    """A file of one recording, on a grid of time. Cells that are no numbers are refused when read."""

    def __init__(self, table: CsvTable, grid: Grid) -> None:
        self.table = table
        self.file = table.file
        self.files = [table.file]
        self.grid = grid
        self.start = grid.start
        self.columns = [i for i in range(len(table.names)) if i not in table.time_columns]
        rate = MICROSECONDS / grid.step
        channels = []
        for column in self.columns:
            channels.append(Channel(*split_unit(table.names[column]), rate, grid.num_steps))
        self.channels = tuple(channels)
        self.notes: tuple[str, ...] = ()
        if grid.num_backward:
            self.notes += (f"Times go back in {count_noun(grid.num_backward, 'row')}.",)
        absent = grid.num_steps - table.num_rows
        if absent and not self.adds_rows:
            self.notes += ("Steps of time without a row are missing time.",)

    @property
    def adds_rows(self) -> bool:
        """Whether a completed copy has a row for each step: if rows are hours, or most steps have one.

        Their times are numbers in ascending order.
        """
        grid = self.grid
        if not grid.unit or grid.num_backward or len(self.table.time_columns) > 1:
            return False
        return grid.step == HOUR or 2 * self.table.num_rows >= grid.num_steps

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples; see `Recording`."""
        samples = np.full(last - first, np.nan)
        low, high = np.searchsorted(self.grid.steps, [first, max(first, last)])
        if low < high:
            rows = self.grid.rows[low:high]
            start = int(rows.min())
            numbers = self.table.read(self.columns[channel], start, int(rows.max()) + 1)
            samples[self.grid.steps[low:high] - first] = numbers[rows - start]
        return samples


def open(  # noqa: A001
    file: Path,
    *,
    time: str = "",
    time_unit: str = "",
    time_format: str = "",
    separator: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8",
    missing: tuple[str, ...] = EMPTY_CELLS,
    rate: float | None = None,
    **_: Any,
) -> Recording:
    """Open a file; DataError names the row and the column of what is wrong.

    Options are as in `FilesSection`. By default, times are in the first column, if its name is one of times,
    such as "hour", and in the unit that the name says. `rate` is that of the grid of the times, by default
    the lowest that fits all rows.
    """
    text = CsvText(separator, decimal, encoding, tuple(missing))
    names = [name.strip() for name in next(read_rows(file, text), [])]
    separators = [sign for sign in ";\t|," if len(names) == 1 and sign in names[0]]
    if separators:
        raise DataError(
            f'{file} has one column, "{shorten(names[0])}": give separator = {separators[0]!r} in the '
            "description"
        )
    if not time and rate is None:
        if not names or not is_time_column(names[0]):
            first = shorten(names[0]) if names else ""
            raise DataError(
                f'{file}: the first column must be the time, such as "hour" or "time (min)", followed by '
                f'variables; it is "{first}"'
            )
        time = names[0]
    time_columns = list_time_columns(time)
    for name in time_columns:
        if name not in names:
            raise DataError(f"{file} has no column {shorten(name)}: it has {shorten(', '.join(names), 120)}")
    if len(set(names)) < len(names):
        raise DataError(f"{file} has two columns of the same name: give each variable one column")
    if len(names) <= len(time_columns):
        raise DataError(f"{file} has no column of a variable")
    table = CsvTable(file, text, time)
    if not table.num_rows:
        raise DataError(f"{file} has no rows below its header")
    try:
        if time:
            name = " ".join(time_columns)
            grid = place_rows(table.times, name, time_unit, time_format, decimal, rate)
        else:
            assert rate
            numbers = np.arange(table.num_rows)
            grid = Grid(numbers, numbers, MICROSECONDS / rate, None)
    except TimeError as error:
        raise DataError(f"{file}: {error}") from None
    return CsvRecording(table, grid)


def create_output(recording: CsvRecording, folder: Path) -> Output:
    """Copy a file to a folder when it is closed, with its missing cells filled."""
    return CsvOutput(recording, folder)
