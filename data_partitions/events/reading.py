"""Read tables over time as measurements: csv and parquet in long or wide form, and MEDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import FilesSection
from data_partitions.description.time_texts import list_time_columns
from data_partitions.errors import DataError
from data_partitions.events.channels import ChannelMap
from data_partitions.events.csv_rows import read_csv_rows
from data_partitions.events.drops import Drops
from data_partitions.events.files import EventFile
from data_partitions.events.numbers import read_numbers
from data_partitions.events.parquet_rows import read_parquet_rows
from data_partitions.events.rows import MAX_NAMES, FaultHandler, Rows, require_columns
from data_partitions.events.times import NO_TIME, TimeReader
from data_partitions.sentences import list_some, quote, shorten
from data_partitions.signals.units import UnitError

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE_TIME = "row", "as the time cannot be read"
WITHOUT_TIME = "row", "without a time"


class Events(NamedTuple):
    """Measurements, in the order of the files: arrays `(event,)`."""

    recording: np.ndarray  # position of the recording
    microseconds: np.ndarray  # time stamp since 1970, or elapsed time
    channel: np.ndarray  # position in the channel map
    values: np.ndarray  # in the unit of the signal


class Recordings:
    """Numbers the recordings by name. Only names that it has from the start are read, unless it is open."""

    def __init__(self, names: Sequence[str] = (), is_open: bool = False):
        self.positions = {name: position for position, name in enumerate(names)}
        self._is_open = is_open

    def find(self, name: str) -> int:
        """Return the position of a recording; -1 if it is not read."""
        if self._is_open and name:
            return self.positions.setdefault(name, len(self.positions))
        return self.positions.get(name, -1)


class EventReader:
    """Reads the files of a data set: the values of some channels, or with None the times alone.

    `reject` receives the fault of a file that cannot be read, and `drops` counts what is dropped.
    """

    def __init__(
        self, section: FilesSection, channels: ChannelMap | None, reject: FaultHandler, drops: Drops
    ):
        self.section = _section_of_meds(section) if section.format == "meds" else section
        self.times = TimeReader(section.time_unit, section.time_format, section.decimal)
        self._channels, self._reject, self._drops = channels, reject, drops
        self.num_backward, self.first_backward = 0, ""  # rows of tables in wide form whose times go back
        self._time_columns = list_time_columns(self.section.time)
        if not self.section.time:
            raise DataError("files.time is missing: name the column with the time of each row")
        if bool(self.section.variable) != bool(self.section.value):
            raise DataError(
                "files.variable and files.value belong together: give both for a table in long form, none "
                "for one with a column for each signal"
            )

    def read_rows(self, files: Sequence[EventFile], more: Sequence[str] = ()) -> Iterator[Rows]:
        """Yield the rows of files with the columns that this reader, and `more` that the caller needs."""

        def choose(file: str, names: Sequence[str]) -> list[str]:
            return self._choose(file, names, more)

        files_with_column = [file for file in files if not file.record]
        if files_with_column and not self.section.record:
            raise DataError("files.record is missing: name the column with the recording of each row")
        self._needs_record = bool(files_with_column)
        if self.section.format == "csv":
            yield from read_csv_rows(files, self.section, choose, self._reject, self._drops)
        else:
            yield from read_parquet_rows(files, choose, self._reject)

    def read_events(self, files: Sequence[EventFile], recordings: Recordings) -> Iterator[Events]:
        """Yield the measurements of the recordings, in parts as the files are read."""
        for rows in self.read_rows(files):
            yield from self.find_events(rows, recordings)

    def find_events(self, rows: Rows, recordings: Recordings) -> Iterator[Events]:
        """Yield the measurements of the recordings in some rows; nothing if there are none."""
        return (self._read_long if self.section.variable else self._read_wide)(rows, recordings)

    def find_recordings(self, rows: Rows, recordings: Recordings) -> np.ndarray:
        """Return the position of the recording of each row, int64 `(row,)`; -1 where it is not read."""
        if not self._needs_record:
            positions = np.array([recordings.find(file.record) for file in rows.files], np.int64)
            return positions[rows.file_of_row]
        return map_texts(rows.columns[self.section.record], lambda name: recordings.find(normalise(name)))

    def read_times(self, rows: Rows, selected: np.ndarray) -> np.ndarray:
        """Return the times of the selected rows, int64 (µs); NO_TIME where there is none."""
        import pyarrow.compute as pc

        columns = [rows.columns[name].take(selected) for name in self._time_columns]
        if len(columns) == 1:
            times = columns[0]
        else:
            times = pc.binary_join_element_wise(*map(_as_text, columns), " ")
        microseconds, unreadable = self.times.read(times)
        self._drops.add(*WITHOUT_TIME, int(((microseconds == NO_TIME) & ~unreadable).sum()))
        file_of_row = rows.file_of_row[selected]
        for number in np.unique(file_of_row[unreadable]):
            of_file = file_of_row == number
            wrong = np.flatnonzero(of_file & unreadable)
            text, where = str(times[int(wrong[0])]), rows.locate(int(selected[wrong[0]]))
            example = f"{where}: {quote(text)}"
            if (microseconds[of_file] == NO_TIME).all():
                fault = DataError(f"{example} is not a time: {self.times.suggest(text)}")
                self._reject(rows.files[number], fault)
            else:
                self._drops.add(*UNREADABLE_TIME, len(wrong), example)
        return microseconds

    def _note_backward(
        self, rows: Rows, selected: np.ndarray, recording: np.ndarray, times: np.ndarray
    ) -> None:
        """Count the rows whose time is earlier than that of the row before in their recording."""
        order = np.argsort(recording, kind="stable")
        same = recording[order[1:]] == recording[order[:-1]]
        backward = order[1:][same & (times[order[1:]] < times[order[:-1]])]
        if len(backward) and not self.num_backward:
            self.first_backward = rows.locate(int(selected[backward.min()]))
        self.num_backward += len(backward)

    def _choose(self, file: str, names: Sequence[str], more: Sequence[str]) -> list[str]:
        section = self.section
        needed = [*self._time_columns, *more]
        needed += [section.record] if self._needs_record else []
        present: list[str] = []
        if section.variable:
            needed += [section.variable]
            if self._channels is not None:
                needed += [section.value, *([section.value_unit] if section.value_unit else [])]
        elif self._channels is not None:
            present = [name for name in names if self._channels.find(name) >= 0]
            if not present:
                raise DataError(
                    f"{file} has no column of a signal: it has {list_some(map(shorten, names), MAX_NAMES)}"
                )
        chosen = list(dict.fromkeys([*needed, *present]))
        require_columns(file, names, chosen)
        column_of: dict[int, str] = {}
        for name in present:
            assert self._channels is not None
            other = column_of.setdefault(self._channels.find(name), name)
            if other != name:
                raise DataError(f"{file} has columns {other} and {name} of one channel: rename or remove one")
        return chosen

    def _read_long(self, rows: Rows, recordings: Recordings) -> Iterator[Events]:
        assert self._channels is not None
        channel = map_texts(rows.columns[self.section.variable], self._channels.find)
        recording = self.find_recordings(rows, recordings)
        of_channel = np.flatnonzero((channel >= 0) & (recording >= 0))
        if not len(of_channel):
            return
        section, names = self.section, self._channels.names

        def locate(row: int) -> str:
            return f"{rows.locate(int(of_channel[row]))}, {names[channel[of_channel[row]]]}"

        values = read_numbers(
            rows.columns[section.value].take(of_channel),
            section.missing,
            section.decimal,
            self._drops,
            locate,
        )
        selected, values = of_channel[~np.isnan(values)], values[~np.isnan(values)]
        times = self.read_times(rows, selected)
        channel = channel[selected]
        values = self._convert_long(rows, selected, channel, values)
        usable = (times != NO_TIME) & ~np.isnan(values)
        yield Events(recording[selected][usable], times[usable], channel[usable], values[usable])

    def _convert_long(
        self, rows: Rows, selected: np.ndarray, channel: np.ndarray, values: np.ndarray
    ) -> np.ndarray:
        """Convert values by their channel and the unit of their row; NaN where that is impossible."""
        assert self._channels is not None
        units: list[str] = [""]
        unit = np.zeros(len(selected), np.int64)
        if self.section.value_unit:
            encoded = _as_text(rows.columns[self.section.value_unit].take(selected)).dictionary_encode()
            units = [str(text or "").strip() for text in encoded.dictionary.to_pylist()] + [""]
            unit = np.asarray(encoded.indices.fill_null(len(units) - 1))
        converted = np.full(len(values), np.nan)
        pair = channel * len(units) + unit
        order = np.argsort(pair, kind="stable")
        for of_pair in filter(len, np.split(order, np.flatnonzero(np.diff(pair[order])) + 1)):
            position, number = divmod(int(pair[of_pair[0]]), len(units))
            text = units[number]
            try:
                converted[of_pair] = self._channels.convert(position, values[of_pair], text)
            except UnitError as error:
                name = self._channels.channels[position].name
                self._drops.add("value", f"as {name} in {quote(text)}: {error}", len(of_pair))
        return converted

    def _read_wide(self, rows: Rows, recordings: Recordings) -> Iterator[Events]:
        assert self._channels is not None
        recording = self.find_recordings(rows, recordings)
        selected = np.flatnonzero(recording >= 0)
        if not len(selected):
            return
        times = self.read_times(rows, selected)
        selected, times = selected[times != NO_TIME], times[times != NO_TIME]
        recording = recording[selected]
        self._note_backward(rows, selected, recording, times)

        def locate(name: str, row: int) -> str:
            return f"{rows.locate(int(selected[row]))}, column {name}"

        parts = []
        for name, column in rows.columns.items():
            position = self._channels.find(name)
            if position < 0:
                continue
            values = read_numbers(
                column.take(selected),
                self.section.missing,
                self.section.decimal,
                self._drops,
                partial(locate, name),
            )
            usable = ~np.isnan(values)
            values = self._channels.convert(position, values[usable])
            channels = np.full(len(values), position)
            parts.append(Events(recording[usable], times[usable], channels, values))
        if parts:
            yield Events(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _section_of_meds(section: FilesSection) -> FilesSection:
    """Give the columns of MEDS their names, where the description leaves them open."""
    defaults = {"record": "subject_id", "time": "time", "variable": "code", "value": "numeric_value"}
    return section.model_copy(
        update={key: name for key, name in defaults.items() if not getattr(section, key)}
    )


def _as_text(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):  # ids become floats where one is missing
        try:
            column = column.cast(pa.int64())
        except ValueError:
            pass
    if pa.types.is_string(column.type):
        return column
    try:
        return column.cast(pa.string())
    except (NotImplementedError, ValueError):  # lists, or bytes that are no text
        raise DataError(
            f"a column has the type {column.type}, where texts or numbers were expected: write it as texts"
        ) from None


def map_texts(column: pa.Array, find: Callable[[str], int]) -> np.ndarray:
    """Return `find(text)` of each row, int64 `(row,)`, -1 where there is no text."""
    encoded = _as_text(column).dictionary_encode()
    texts = [str(text).strip() for text in encoded.dictionary.to_pylist()]
    positions = np.array([*map(find, texts), -1], np.int64)
    return positions[np.asarray(encoded.indices.fill_null(len(texts)))]
