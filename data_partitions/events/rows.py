"""Rows of a table as Arrow arrays, a part at a time, and the choice of the columns that are read."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import list_some, shorten, suggest

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAMES = 12  # in a message
# (name of the file, its column names) -> the columns to read; DataError if one that is needed is missing
ColumnChoice = Callable[[str, Sequence[str]], list[str]]
# Called with the fault of a file that cannot be read; it may raise it, or count the file as rejected.
FaultHandler = Callable[[EventFile, DataError], None]


class Rows(NamedTuple):
    """Successive rows of one file, or all rows of several small files."""

    columns: "dict[str, pa.Array]"  # Arrow arrays of `(row,)`, by name
    files: tuple[EventFile, ...]
    ends: np.ndarray  # for each file the number of rows of this part up to the file's end, int `(file,)`
    before: int  # rows of the first file that came in earlier parts

    def locate(self, row: int) -> str:
        """Say where a row is: the file and the number of the row below the header, counted from 1."""
        file = int(np.searchsorted(self.ends, row, side="right"))
        number = row + 1 + (self.before if file == 0 else -int(self.ends[file - 1]))
        return f"{self.files[file]}, row {number}"

    @property
    def file_of_row(self) -> np.ndarray:
        """Position in `files` of each row."""
        return np.repeat(np.arange(len(self.files)), np.diff(self.ends, prepend=0))


def require_columns(file: str, names: Sequence[str], needed: Sequence[str]) -> None:
    """Raise DataError unless a file has each of `needed` once."""
    missing = [name for name in needed if name not in names]
    if missing:
        listed = list_some(map(shorten, names), MAX_NAMES) or "no columns"
        hint = suggest(missing[0], map(shorten, names))
        raise DataError(f"{file} has no column {', '.join(missing)}{hint} (it has {listed})")
    for name in needed:
        if names.count(name) > 1:
            raise DataError(f"{file} has {names.count(name)} columns {name}: rename or remove the others")


class FileFaults:
    """Rejects the recording of a file that cannot be read; raises the fault if the file has several."""

    def __init__(self, log: PreparationLog):
        self._log = log
        self.recordings: set[str] = set()

    def __call__(self, file: EventFile, fault: DataError) -> None:
        if not file.record:
            raise fault
        if file.record not in self.recordings:
            self.recordings.add(file.record)
            self._log.reject(fault)
