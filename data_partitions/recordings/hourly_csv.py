"""A csv of vitals and labs: one row a step of time (an hour, for the models of intensive care), a column a
variable, an empty cell where nothing was measured.

The first column is the time in steps from 0, called `hour` or `time`; steps without a row are not observed.
A unit in the name of a column, as in `HR (bpm)`, is compared with that of the model.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.recording import Recording, Signal

SUFFIX = ".csv"
TIMES = ("hour", "time")
EMPTY = ("", "na", "nan", "null")
MOST_STEPS = 10**6
_UNIT = re.compile(r"(.+?)\s*[(\[]([^)\]]*)[)\]]\s*")


@dataclass(frozen=True)
class _Table:
    header: list[str]
    rows: list[list[str]]
    steps: np.ndarray  # of each row


def read(file: Path, step_seconds: float = 3600.0) -> Recording:
    """The columns as signals with one sample a step. Raises DataError naming the row and the column."""
    table = _read(file)
    signals = []
    length = int(table.steps.max()) + 1
    for column, title in enumerate(table.header[1:], 1):
        samples = np.full(length, np.nan)
        for number, (step, row) in enumerate(zip(table.steps, table.rows, strict=True), 2):
            samples[step] = _number(row[column], file, number, title)
        parts = _UNIT.fullmatch(title)
        name, unit = parts.groups() if parts else (title, "")
        signals.append(Signal(name, unit, 1 / step_seconds, samples))
    return Recording(file, tuple(signals), table)


def files(recording: Recording) -> list[Path]:
    return [recording.file]


def write(recording: Recording, signals: list[np.ndarray], folder: Path) -> None:
    """A row for each step up to the last, with numbers where nothing was; what was there keeps its text."""
    table: _Table = recording.source
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(table.header)
    given = dict(zip(table.steps.tolist(), table.rows, strict=True))
    for step in range(int(table.steps.max()) + 1):
        row = given.get(step) or [str(step)] + [""] * (len(table.header) - 1)
        filled = [
            f"{samples[step]:.6g}" if cell.strip().lower() in EMPTY and not np.isnan(samples[step]) else cell
            for cell, samples in zip(row[1:], signals, strict=True)
        ]
        out.writerow([row[0], *filled])
    (folder / recording.file.name).write_text(text.getvalue(), encoding="utf-8")


def _read(file: Path) -> _Table:
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            header, *rows = list(csv.reader(opened)) or [[]]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a csv ({error})") from None
    rows = [row for row in rows if row]
    if len(header) < 2 or header[0].strip().lower() not in TIMES:
        first = header[0][:40] if header else ""
        raise DataError(f'{file}: the first column must be "hour" or "time", then variables; it is "{first}"')
    if len(set(header)) < len(header):
        raise DataError(f"{file} has two columns of one name: each variable has one")
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
        if not (0 <= step < MOST_STEPS and step == int(step)):
            raise DataError(f'{file}: row {number} has the {header[0]} "{row[0]}", expected 0, 1, 2, ...')
        steps.append(int(step))
    if len(set(steps)) < len(steps):
        raise DataError(f"{file} has two rows of one {header[0]}: one row a step")
    return _Table(header, rows, np.array(steps))


def _number(cell: str, file: Path, row: int, title: str) -> float:
    if cell.strip().lower() in EMPTY:
        return np.nan
    try:
        value = float(cell)
    except ValueError:
        value = np.inf
    if not np.isfinite(value):
        raise DataError(f'{file}: row {row} has "{cell[:40]}" for {title}, expected a number or nothing')
    return value
