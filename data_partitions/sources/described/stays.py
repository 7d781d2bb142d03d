"""The recordings of tables over time: the rows of the table, properties from the files, starts and ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.events.recordings import find_time_zone, index_recordings
from data_partitions.events.times import NO_TIME, US_PER_SECOND, TimeReader
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import quote_some
from data_partitions.sources.described.faults import description_error, require_column
from data_partitions.sources.described.files import describe_files, match_files
from data_partitions.sources.described.listing import (
    Listing,
    describe_repetition,
    describe_row,
    name_recording,
    unique_rows,
)
from data_partitions.sources.described.meds_stays import list_meds_stays
from data_partitions.sources.described.table import read_table

EXAMPLES = 3


class Stays(NamedTuple):
    """The recordings of a source, and their times on the axis of the files, in s."""

    listing: Listing  # the recordings
    # By recording: `start`, from which windows are counted, and `end`; NaN where they are not known.
    times: pd.DataFrame
    files: list[EventFile]  # the files that have them


def is_over_time(description: Description) -> bool:
    """Return whether a description is of tables with a time in each row."""
    return description.files.format == "meds" or bool(description.files.time)


def find_event_files(description: Description, source: Path) -> list[EventFile]:
    """Find the files of a description, of each recording the first; DataError when there is none."""
    return _first_files(_find_files(description, source))


def _find_files(
    description: Description, source: Path, columns: tuple[str, ...] = ()
) -> dict[str, list[EventFile]]:
    """Find the files by the name of their recording, "" where a column names it."""
    pattern, has_column = description.files.path, bool(description.files.record)
    matches = match_files(source, pattern, columns, in_archives=True)
    if not matches:
        raise description_error(
            description, "files.path", f'no file fits "{pattern}": {describe_files(source)}'
        )
    shared = has_column or description.files.format == "meds"
    files: dict[str, list[EventFile]] = defaultdict(list)
    for match in matches:
        name = "" if shared else name_recording(description, match, source)
        files[name].append(EventFile(match.path, name, match.member))
    return files


def _first_files(files: Mapping[str, list[EventFile]]) -> list[EventFile]:
    return [file for name, of_name in files.items() for file in (of_name[:1] if name else of_name)]


def list_stays(description: Description, source: Path, log: PreparationLog) -> Stays:
    """Find the recordings that a description speaks of; DataError when there are none.

    All files are read for it, if the table does not have the times that are needed, or if the files have
    properties of the recordings.
    """
    table = read_table(description, source)
    by_name = _find_files(description, source, () if table is None else tuple(table.columns))
    repeated = [
        describe_repetition(name, of_name) for name, of_name in by_name.items() if name and of_name[1:]
    ]
    files = _first_files(by_name)
    if description.files.format == "meds":
        rows, times = list_meds_stays(description, source, files, table, log)
        recordings = [
            replace(describe_row(description, row["record"], files[0].path, row), patient=row["patient"])
            for row in rows
        ]
        columns = tuple(rows[0]) if rows else ()
        return Stays(Listing(recordings, columns=columns), times, files)
    index = None
    if table is None or _needs_index(description):
        index = index_recordings(files, description.files, log, description.table.properties)
    names = [file.record for file in files if file.record] if index is None else list(index.index)
    if index is not None and not names:
        raise DataError(f"no file of {source} can be read{log.explain()}")
    listing = _list_rows(description, table, files, names, index)
    clashes = [] if table is None else table.attrs.get("clashes", [])
    listing = replace(listing, faults=[*repeated, *listing.faults], clashes=clashes)
    return Stays(listing, _find_times(description, listing, index, files), files)


def _needs_index(description: Description) -> bool:
    table, window = description.table, description.window
    needs_end = (window.take != "first" or description.task.after is not None) and not table.end
    needs_start = description.files.time_unit == "datetime" and not table.start
    return bool(table.properties) or needs_end or needs_start


def _list_rows(
    description: Description,
    table: pd.DataFrame | None,
    files: list[EventFile],
    names: list[str],
    index: pd.DataFrame | None,
) -> Listing:
    """List the rows of the table that have events, with their properties; without a table all recordings.

    `names` are the recordings that files have; none if the files were not read.
    """
    path_of = {file.record: file.path for file in files}
    unreadable = set(path_of) - {""} - set(path_of if index is None else index.index)
    faults: list[str] = []
    if table is None:
        rows: dict[str, Mapping[str, str]] = {name: {} for name in dict.fromkeys(names)}
    else:
        column = description.table.record or description.files.record
        require_column(description, "table.record", column, table.columns)
        of_table, faults = unique_rows(table, [column])
        rows = {row[column]: row for row in of_table}
    known = set(names or rows)
    used = [name for name in rows if name in known]
    without_file = [name for name in rows if name not in known | unreadable]
    without_row = [name for name in dict.fromkeys(names) if name not in rows]
    if not used:
        raise description_error(
            description,
            "table.record",
            f"no row of {description.table.path} is of a recording: rows are of "
            f"{quote_some(without_file, EXAMPLES)}, and files have {quote_some(without_row, EXAMPLES)}",
        )
    properties: dict[Any, Any] = {}
    if index is not None:
        properties = index[list(description.table.properties)].to_dict("index")
    recordings = []
    for name in used:
        row: dict[str, Any] = {**properties.get(name, {}), **rows[name]}
        recordings.append(describe_row(description, name, path_of.get(name, files[0].path), row))
    return Listing(recordings, without_file, without_row, tuple(recordings[0].row), faults)


def _find_times(
    description: Description, listing: Listing, index: pd.DataFrame | None, files: list[EventFile]
) -> pd.DataFrame:
    """Return `start` and `end` of each recording, in s on the axis of the files, NaN where unknown."""
    table, window = description.table, description.window
    names = [listed.record for listed in listing.recordings]
    reader = TimeReader(table.time_unit, table.time_format, table.decimal, "table.time-format")

    def read_column(key: str, column: str) -> np.ndarray:
        require_column(description, key, column, listing.columns)
        texts = [listed.row[column] for listed in listing.recordings]
        times = reader.read_elapsed(texts) if reader.is_elapsed else reader.read_stamps(texts)
        if (times == NO_TIME).all() and any(texts):
            text = next(filter(None, texts))
            raise description_error(description, key, f'{column} is "{text}": {reader.suggest(text)}')
        return np.where(times == NO_TIME, np.nan, times)

    def of_index(column: str) -> np.ndarray:
        if index is None:
            return np.full(len(names), np.nan)
        times = index[column].reindex(names)
        return times.where(times != NO_TIME).to_numpy(float)

    zero = read_column("table.start", table.start) if table.start else None
    if description.files.time_unit != "datetime":
        # Elapsed times are counted from the start, from which time stamps are subtracted.
        origin = np.zeros(len(names))
        shift = np.zeros(len(names)) if zero is None or reader.is_elapsed else -zero
    else:
        if zero is not None and reader.is_elapsed:
            raise description_error(
                description,
                "table.start",
                'files have time stamps: the start is one too, with time-unit = "datetime"',
            )
        origin = of_index("first_us") if zero is None else zero
        shift = origin if reader.is_elapsed else np.zeros(len(names))
    start = read_column("window.start", window.start) + shift if window.start else origin
    if table.end:
        end = read_column("table.end", table.end) + shift
    else:  # the last row lasts a step
        step = (window.grid or 0) * US_PER_SECOND
        last = of_index("last_us") - start
        end = start + (np.floor(last / step) + 1) * step if step else start + last
    if reader.has_zone is not None and description.files.time_unit == "datetime":
        of_files = find_time_zone(files, description.files)
        if of_files not in (None, reader.has_zone):
            words = ("a time zone", "none")
            of_table, of_rows = words if reader.has_zone else words[::-1]
            raise DataError(
                f"times of {table.path} have {of_table} and those of {files[0]} have {of_rows}, and so "
                "cannot be compared: write all with their zone, or all in one local time"
            )
    return pd.DataFrame({"start": start, "end": end}, index=names) / US_PER_SECOND


def require_start(description: Description, record: str, start: float) -> None:
    """Raise DataError if it is not known when the windows of a recording start."""
    if np.isnan(start):
        column = description.window.start or description.table.start or "its first row"
        raise DataError(f"recording {record} has no start: {column} has no time")
