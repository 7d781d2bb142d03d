"""A csv file of vital signs and laboratory values: one row per time step, one column per variable.

A time step is an hour for the models of intensive care. An empty cell means that nothing was measured. The
first column is the time in steps from 0, called `hour` or `time`; steps without a row are not observed. A
unit in the name of a column, as in `HR (bpm)`, is compared with that of the model.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.whole_recording import Recording, Signal

SUFFIX = ".csv"
TIME_COLUMNS = ("hour", "time")
EMPTY_CELLS = ("", "na", "nan", "null")
MAX_STEPS = 10**6
STEP_SECONDS = 3600.0
_NAME_AND_UNIT = re.compile(r"(.+?)\s*[(\[]([^)\]]*)[)\]]\s*")


@dataclass(frozen=True)
class _CsvTable:
    header: list[str]
    rows: list[list[str]]
    steps: np.ndarray  # of each row


def read(file: Path, step_seconds: float = STEP_SECONDS) -> Recording:
    """Read the columns as signals with one sample per step; DataError names the row and the column."""
    table = _read_table(file)
    signals = []
    length = int(table.steps.max()) + 1
    for column, title in enumerate(table.header[1:], 1):
        samples = np.full(length, np.nan)
        for number, (step, row) in enumerate(zip(table.steps, table.rows, strict=True), 2):
            samples[step] = _parse_cell(row[column], file, number, title)
        parts = _NAME_AND_UNIT.fullmatch(title)
        name, unit = parts.groups() if parts else (title, "")
        signals.append(Signal(name, unit, 1 / step_seconds, samples))
    return Recording(file, tuple(signals), table)


def files(recording: Recording) -> list[Path]:
    """Return the one file."""
    return [recording.file]


def write(recording: Recording, signals: list[np.ndarray], folder: Path) -> None:
    """Write a row for each step up to the last, with empty cells filled; other cells keep their text."""
    table: _CsvTable = recording.source
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    row_of_step = dict(zip(table.steps.tolist(), table.rows, strict=True))
    for step in range(int(table.steps.max()) + 1):
        row = row_of_step.get(step) or [str(step)] + [""] * (len(table.header) - 1)
        filled = [
            f"{samples[step]:.6g}" if _is_empty(cell) and not np.isnan(samples[step]) else cell
            for cell, samples in zip(row[1:], signals, strict=True)
        ]
        writer.writerow([row[0], *filled])
    (folder / recording.file.name).write_text(text.getvalue(), encoding="utf-8")


def _read_table(file: Path) -> _CsvTable:
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            header, *rows = list(csv.reader(opened)) or [[]]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a csv file ({error})") from None
    rows = [row for row in rows if row]
    if len(header) < 2 or header[0].strip().lower() not in TIME_COLUMNS:
        first = header[0][:40] if header else ""
        raise DataError(
            f'{file}: the first column must be "hour" or "time", followed by variables; it is "{first}"'
        )
    if len(set(header)) < len(header):
        raise DataError(f"{file} has two columns of the same name: give each variable one column")
    if not rows:
        raise DataError(f"{file} has no rows below its header")
    steps = []
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(f"{file}: row {number} has {len(row)} cells, the header has {len(header)}")
        try:
            step = float(row[0])
        except ValueError:
            step = np.nan
        if not (0 <= step < MAX_STEPS and step == int(step)):
            raise DataError(f'{file}: row {number} has the {header[0]} "{row[0]}", expected 0, 1, 2, ...')
        steps.append(int(step))
    if len(set(steps)) < len(steps):
        raise DataError(f"{file} has two rows of the same {header[0]}: give each step one row")
    return _CsvTable(header, rows, np.array(steps))


def _is_empty(cell: str) -> bool:
    return cell.strip().lower() in EMPTY_CELLS


def _parse_cell(cell: str, file: Path, row: int, title: str) -> float:
    if _is_empty(cell):
        return np.nan
    try:
        value = float(cell)
    except ValueError:
        value = np.inf
    if not np.isfinite(value):
        raise DataError(
            f'{file}: row {row} has "{cell[:40]}" for {title}, expected a number or an empty cell'
        )
    return value
