"""A csv file with a column for each variable, read once into numbers on disk."""

import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_partitions.description.time_texts import list_time_columns
from data_partitions.errors import DataError
from data_partitions.expansion import open_unpacked
from data_partitions.sentences import shorten

BLOCK_ROWS = 1 << 14
MAX_LINE = 1 << 24  # characters
HELD_BYTES = 1 << 24  # a larger table is on disk
MAX_FLOAT32 = float(np.finfo(np.float32).max)
# Signs for a missing value in files of any writer, in lower case.
EMPTY_CELLS = ("", "na", "nan", "null", "none")


@dataclass(frozen=True)
class CsvText:
    """How a csv file is written."""

    separator: str = ","  # as in `FilesSection`
    decimal: str = "."
    encoding: str = "utf-8"
    # Texts that stand for a missing value. A number among them stands for it however it is written.
    missing: tuple[str, ...] = EMPTY_CELLS

    def is_missing(self, cell: str) -> bool:
        """Whether a cell has no value."""
        text = cell.strip()
        if text in self.missing or text.lower() in EMPTY_CELLS:
            return True
        return self.parse_number(text) in self.missing_numbers

    @property
    def missing_numbers(self) -> set[float]:
        """Numbers that stand for a missing value."""
        return {number for number in map(self.parse_number, self.missing) if number == number}

    def parse_numbers(self, cells: Sequence[str]) -> np.ndarray:
        """Return float64 `(row,)`, NaN for missing cells and infinite for cells that are no numbers."""
        try:  # nearly all columns have only numbers and empty cells
            if self.decimal != ".":
                raise ValueError
            numbers = np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError:
            numbers = np.array([self.parse_number(cell) for cell in cells])
        odd = [row for row in np.flatnonzero(np.isnan(numbers)).tolist() if cells[row]]
        for row in odd:
            numbers[row] = np.nan if self.is_missing(cells[row]) else np.inf
        numbers[np.abs(numbers) > MAX_FLOAT32] = np.inf
        numbers[np.isin(numbers, list(self.missing_numbers))] = np.nan
        return numbers

    def parse_number(self, cell: str) -> float:
        """Return a number; NaN if the cell is none."""
        if self.decimal != ".":
            if "." in cell:  # perhaps between thousands
                return np.nan
            cell = cell.replace(self.decimal, ".")
        try:
            return float(cell)
        except ValueError:
            return np.nan


class CsvTable:
    """The cells of a file, plain or gzip, as numbers; those of the columns of times as texts.

    `time` is a column or a pattern of several, whose texts are joined by blanks.

    DataError when it is not a csv file, or has rows of another length than its header.
    """

    def __init__(self, file: Path, text: CsvText, time: str) -> None:
        self.file = file
        self.text = text
        self.times: list[str] = []
        self.num_rows = 0
        self.numbers = tempfile.SpooledTemporaryFile(HELD_BYTES)
        rows = read_rows(file, text)
        self.names = [name.strip() for name in next(rows, [])]
        self.time_columns = [self.names.index(name) for name in list_time_columns(time) if name in self.names]
        block: list[list[str]] = []
        for row in rows:
            if len(row) != len(self.names):
                raise DataError(
                    f"{file}: row {self.num_rows + len(block) + 2} has {len(row)} cells, the header has "
                    f"{len(self.names)}"
                )
            block.append(row)
            if len(block) == BLOCK_ROWS:
                self._write(block)
                block = []
        if block:
            self._write(block)

    def _write(self, block: list[list[str]]) -> None:
        columns = list(zip(*block, strict=True))
        if self.time_columns:
            self.times += map(" ".join, zip(*(columns[i] for i in self.time_columns), strict=True))
        numbers = [self.text.parse_numbers(column) for column in columns]
        self.numbers.write(np.array(numbers).tobytes())
        self.num_rows += len(block)

    def read(self, column: int, first: int, last: int) -> np.ndarray:
        """Return numbers of a column, float64 `(last - first,)`; DataError at a cell that is no number."""
        parts = []
        while first < last:
            start = first // BLOCK_ROWS * BLOCK_ROWS
            length = min(BLOCK_ROWS, self.num_rows - start)
            end = min(last, start + length)
            self.numbers.seek(8 * (start * len(self.names) + column * length + first - start))
            parts.append(np.frombuffer(self.numbers.read(8 * (end - first))))
            if np.isinf(parts[-1]).any():
                row = first + int(np.argmax(np.isinf(parts[-1])))
                raise DataError(self._describe_cell(column, row))
            first = end
        return np.concatenate(parts) if parts else np.empty(0)

    def _describe_cell(self, column: int, row: int) -> str:
        rows = read_rows(self.file, self.text)
        cell = next(cells[column] for number, cells in enumerate(rows) if number == row + 1)
        name = shorten(self.names[column])
        expected = "expected a number or an empty cell"
        if MAX_FLOAT32 < abs(self.text.parse_number(cell)) < np.inf:
            expected = "which is too large for a number of 32 bits: leave a cell without a value empty"
        return f'{self.file}: row {row + 2} has "{shorten(cell)}" for {name}, {expected}'


def read_rows(file: Path, text: CsvText) -> Iterator[list[str]]:
    """Yield the header and all rows that are not empty; DataError when the file cannot be read."""
    try:
        with open_unpacked(file) as opened:
            encoding = "utf-8-sig" if text.encoding.lower().replace("_", "-") == "utf-8" else text.encoding
            lines = io.TextIOWrapper(opened, encoding, newline="")
            yield from (row for row in csv.reader(_limit_lines(lines), delimiter=text.separator) if row)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, LookupError) as error:
        reason = shorten(error, 80)
        raise DataError(
            f"{file} is not text in {text.encoding} ({reason}): give its encoding in the description"
        ) from None
    except (csv.Error, EOFError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is not a csv file ({shorten(error, 80)})") from None


def _limit_lines(lines: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines as long as they have the length of a row; csv would read a longer one into memory first."""
    while line := lines.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise csv.Error(f"a line has more than {MAX_LINE} characters")
        yield line
