"""Parquet files whose rows are samples at a rate, with a column for each channel; read, not completed.

Tables with a time in each row are read by `data_partitions.events`.
"""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.blocks import BLOCK_NUMBERS, BlockReader
from data_partitions.recordings.recording import Channel, Output, Recording
from data_partitions.sentences import shorten

SUFFIXES = (".parquet",)
MAX_GROUP_ROWS = 2**26  # the most that Arrow writes by default


class ParquetRecording:
    """A file with rows at a rate (Hz); columns that are not numbers are no channels."""

    def __init__(self, file: Path, rate: float) -> None:
        import pyarrow as pa

        self.file = file
        self.files = [file]
        self.start: datetime | None = None
        opened = _open_parquet(file)
        schema, metadata = opened.schema_arrow, opened.metadata
        numbers = [
            field.name
            for field in schema
            if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        ]
        if not numbers or not metadata.num_rows:
            raise DataError(f"{file} has no column of numbers, or no rows")
        self.channels = tuple(Channel(name, "", rate, metadata.num_rows) for name in numbers)
        others = [shorten(field.name) for field in schema if field.name not in numbers]
        self.notes: tuple[str, ...] = ()
        if others:
            self.notes = (f"Columns that are not numbers are left out: {', '.join(others)}.",)
        lengths = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        if max(lengths) > MAX_GROUP_ROWS:
            raise DataError(
                f"{file} has a row group of {max(lengths)} rows, which is read whole: expected at most "
                f"{MAX_GROUP_ROWS}, write it again with smaller row groups"
            )
        self._ends = np.cumsum(lengths)
        self._readers = [
            BlockReader(partial(self._load, name), metadata.num_rows, BLOCK_NUMBERS) for name in numbers
        ]

    def _load(self, name: str, first: int, last: int) -> np.ndarray:
        """Return rows of a column as `(row, 1)`; the row groups that have them are read whole."""
        low, high = np.searchsorted(self._ends, [first, last - 1], "right")
        opened = _open_parquet(self.file)
        try:
            column = opened.read_row_groups(list(range(low, high + 1)), columns=[name], use_threads=False)[0]
        except (OSError, ValueError) as error:  # Arrow's errors
            raise DataError(f"{self.file} cannot be read ({shorten(error, 100)})") from None
        values = column.cast("float64", safe=False).to_numpy()
        before = int(self._ends[low - 1]) if low else 0
        return values[first - before : last - before, None]

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples; see `Recording`."""
        values = self._readers[channel].read_around(first, last, slice(None))
        return np.where(np.isfinite(values), values, np.nan)


def open(file: Path, *, rate: float | None = None, **_: Any) -> Recording:  # noqa: A001
    """Open a file; DataError when it cannot be read. `rate` is that of its rows in Hz."""
    if rate is None:
        raise DataError(f"{file} does not state the rate of its rows: give rate (Hz) in the description")
    return ParquetRecording(file, rate)


def create_output(recording: ParquetRecording, folder: Path) -> Output:
    """Raise DataError, as parquet files cannot be completed."""
    raise DataError(f"{recording.file} can be read but not completed: save it as a csv file")


def _open_parquet(file: Path) -> Any:
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file)
    except (OSError, ValueError) as error:  # Arrow's errors
        raise DataError(f"{file} is not a readable parquet file ({shorten(error, 100)})") from None
