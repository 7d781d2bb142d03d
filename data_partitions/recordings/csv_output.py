"""Copies of csv files in which missing cells are filled. All other text stays as it is."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from data_partitions.expansion import is_gzip, open_unpacked
from data_partitions.recordings.csv_table import CsvText

if TYPE_CHECKING:
    from data_partitions.recordings.csv_recording import CsvRecording

BLOCK_NUMBERS = 1 << 19


class CsvOutput:
    """A copy of a file, which is written when it is closed.

    Steps without a row get one, if the recording says so.
    """

    def __init__(self, recording: CsvRecording, folder: Path) -> None:
        self.recording = recording
        self.copy = folder / recording.file.name
        # All values of the first channel, then those of the second, ...; zero bytes where there is none.
        self.values = tempfile.TemporaryFile()
        self.num_steps = recording.grid.num_steps
        self.step_of_row = recording.grid.steps[np.argsort(recording.grid.rows)]
        self.block_steps = max(1, BLOCK_NUMBERS // len(recording.columns))
        self.block, self.block_number = np.empty((0, 0)), -1

    def fill(self, channel: int, first: int, samples: np.ndarray) -> None:
        """Set values of cells that have none; see `Output`."""
        low, high = max(first, 0), min(first + len(samples), self.num_steps)
        if low >= high:
            return
        values = np.asarray(samples[low - first : high - first], np.float64)
        self.values.seek(8 * (channel * self.num_steps + low))
        before = np.frombuffer(self.values.read(values.nbytes).ljust(values.nbytes, b"\0"))
        # A value of 0 is written as -0.0, whose bytes are not all zero.
        values = np.where(values == 0, -0.0, values)
        self.values.seek(8 * (channel * self.num_steps + low))
        self.values.write(np.where(np.isfinite(values), values, before).tobytes())

    def close(self) -> None:
        """Write the copy."""
        with open_unpacked(self.recording.file) as source:
            encoding = self.recording.table.text.encoding
            opener = gzip.open if is_gzip(self.recording.file) else open
            with cast(BinaryIO, opener(self.copy, "wb")) as copy:
                writer = io.TextIOWrapper(copy, encoding, newline="")
                writer.writelines(self._changed_rows(io.TextIOWrapper(source, encoding, newline="")))
                writer.flush()
        self.values.close()

    def _changed_rows(self, lines: io.TextIOWrapper) -> Iterator[str]:
        recording = self.recording
        names = recording.table.names
        row, expected_step, ending = -1, 0, "\n"
        for cells, raw in _raw_rows(lines, recording.table.text.separator):
            if row >= 0 and cells:
                step = int(self.step_of_row[row])
                while expected_step < step and recording.adds_rows:
                    yield self._new_row(expected_step) + ending
                    expected_step += 1
                raw = self._changed_row(raw, step, len(names))
                expected_step = step + 1
            row += bool(cells)
            ending = raw[len(raw.rstrip("\r\n")) :] or ending
            yield raw

    def _changed_row(self, raw: str, step: int, num_cells: int) -> str:
        values = self._values_of(step)
        channels = np.flatnonzero(values.view(np.int64))[::-1].tolist()
        if not channels:
            return raw
        text = self.recording.table.text
        spans = find_cells(raw, text.separator)
        if len(spans) != num_cells:
            return raw
        for channel in channels:
            start, end = spans[self.recording.columns[channel]]
            if text.is_missing(raw[start:end].strip().strip('"')):
                raw = raw[:start] + _format_value(values[channel], text) + raw[end:]
        return raw

    def _new_row(self, step: int) -> str:
        recording, values = self.recording, self._values_of(step)
        text = recording.table.text
        cells = [""] * len(recording.table.names)
        for column in recording.table.time_columns:
            time = step * recording.grid.step / recording.grid.unit
            cells[column] = _format_number(time, text, 12)
        for channel in np.flatnonzero(values.view(np.int64)).tolist():
            cells[recording.columns[channel]] = _format_value(values[channel], text)
        return text.separator.join(cells)

    def _values_of(self, step: int) -> np.ndarray:
        """Return the values of a step, `(channel,)`; those that are not set have only zero bits."""
        number, position = divmod(step, self.block_steps)
        if number != self.block_number:
            first = number * self.block_steps
            length = min(self.block_steps, self.num_steps - first)
            parts = []
            for channel in range(len(self.recording.columns)):
                self.values.seek(8 * (channel * self.num_steps + first))
                parts.append(np.frombuffer(self.values.read(8 * length).ljust(8 * length, b"\0")))
            self.block, self.block_number = np.stack(parts, 1), number
        return self.block[position]


def find_cells(raw: str, separator: str) -> list[tuple[int, int]]:
    """Return where each cell of a row is in its text, as [start, end)."""
    content = len(raw.rstrip("\r\n"))
    spans, start = [], 0
    while True:
        end = start
        if raw[start : start + 1] == '"':
            end = start + 1
            while end < content and (raw[end] != '"' or raw[end + 1 : end + 2] == '"'):
                end += 2 if raw[end] == '"' else 1
        next_cell = raw.find(separator, end, content)
        end = content if next_cell < 0 else next_cell
        spans.append((start, end))
        if next_cell < 0:
            return spans
        start = end + len(separator)


def _raw_rows(lines: Iterator[str], separator: str) -> Iterator[tuple[list[str], str]]:
    """Yield the cells of each row with its text."""
    pending: list[str] = []

    def read_lines() -> Iterator[str]:
        for line in lines:
            pending.append(line)
            yield line

    for cells in csv.reader(read_lines(), delimiter=separator):
        yield cells, "".join(pending)
        pending.clear()


def _format_value(number: float, text: CsvText) -> str:
    """Write a value with six digits: the nearest that does not stand for a missing one."""
    last_digit = 10.0 ** (math.floor(math.log10(abs(number) or 1)) - 5)
    shifts = (side * distance for distance in itertools.count() for side in (1, -1))
    cells = (_format_number(number + shift * last_digit, text) for shift in shifts)
    return next(cell for cell in cells if not text.is_missing(cell.strip('"')))


def _format_number(number: float, text: CsvText, digits: int = 6) -> str:
    cell = f"{number + 0.0:.{digits}g}".replace(".", text.decimal)
    return f'"{cell}"' if text.separator in cell else cell
