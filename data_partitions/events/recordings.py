"""List the recordings that tables over time have: when each begins and ends, and its properties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_partitions.description.sections import FilesSection
from data_partitions.errors import DataError
from data_partitions.events.codes import Codes
from data_partitions.events.drops import Drops
from data_partitions.events.files import EventFile
from data_partitions.events.reading import EventReader, Recordings, map_texts
from data_partitions.events.rows import FileFaults, Rows
from data_partitions.events.times import NO_TIME
from data_partitions.preparation_log import PreparationLog

FIRST_ROWS = 1000  # by which time zones are judged


def index_recordings(
    files: Sequence[EventFile], section: FilesSection, log: PreparationLog, properties: Sequence[str] = ()
) -> pd.DataFrame:
    """Read the times of all rows, and the properties of the recordings, such as the ward.

    Properties are variables of files in long form, or codes of MEDS in which `*` stands for the property.

    Returns a row for each recording that can be read, by name in the order of the files: `first_us` and
    `last_us`, the times of its first and last row (int64, µs; NO_TIME without any), and a column for each
    property with the text of its first row, "" without any.
    """
    faults = FileFaults(log)
    reader = EventReader(section, None, faults, Drops())  # what is dropped is counted when values are read
    recordings = Recordings(is_open=True)
    first, last = np.zeros(0, np.int64), np.zeros(0, np.int64)
    texts: dict[str, dict[int, str]] = {name: {} for name in properties}
    if properties and not reader.section.variable:
        raise DataError("table.properties are variables of files in long form, but these have columns")
    for rows in reader.read_rows(files, [reader.section.value] if properties else []):
        recording = reader.find_recordings(rows, recordings)
        for name, of_recording in texts.items():
            _read_property(reader, rows, recording, name, of_recording)
        selected = np.flatnonzero(recording >= 0)
        times = reader.read_times(rows, selected)
        selected, times = selected[times != NO_TIME], times[times != NO_TIME]
        new = len(recordings.positions) - len(first)
        first = np.append(first, np.full(new, np.iinfo(np.int64).max))
        last = np.append(last, np.full(new, NO_TIME))
        np.minimum.at(first, recording[selected], times)
        np.maximum.at(last, recording[selected], times)
    for file in files:  # also those without a row
        recordings.find(file.record)
    new = len(recordings.positions) - len(first)
    first, last = (np.append(times, np.full(new, NO_TIME)) for times in (first, last))
    first[last == NO_TIME] = NO_TIME
    table = pd.DataFrame(
        {"first_us": first, "last_us": last}, index=pd.Index(list(recordings.positions), dtype=object)
    )
    for name, of_recording in texts.items():
        table[name] = [of_recording.get(position, "") for position in range(len(table))]
    return table.drop(index=list(faults.recordings))


def find_time_zone(files: Sequence[EventFile], section: FilesSection) -> bool | None:
    """Tell whether the first time stamps have a time zone; None if there are none."""
    reader = EventReader(section, None, lambda file, fault: None, Drops())
    for rows in reader.read_rows(files[:1]):
        reader.read_times(rows, np.arange(min(len(rows.file_of_row), FIRST_ROWS)))
        if reader.times.has_zone is not None:
            break
    return reader.times.has_zone


def _read_property(
    reader: EventReader, rows: Rows, recording: np.ndarray, name: str, of_recording: dict[int, str]
) -> None:
    """Add the text of a property for each recording that has none yet."""
    codes = Codes([name])
    variables = rows.columns[reader.section.variable]
    for row in np.flatnonzero((map_texts(variables, codes.find) == 0) & (recording >= 0)):
        position = int(recording[row])
        if position not in of_recording:
            if "*" in name:
                of_recording[position] = codes.read_star(str(variables[int(row)]).strip())
            else:
                cell = rows.columns[reader.section.value][int(row)].as_py()
                of_recording[position] = "" if cell is None else str(cell).strip()
