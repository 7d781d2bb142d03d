"""Times of the table on the time axis of a recording."""

from __future__ import annotations

from data_partitions.description.durations import format_seconds
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings.recording import Recording
from data_partitions.sources.described.faults import require_column
from data_partitions.sources.described.listing import ListedRecording
from data_partitions.sources.described.table import parse_stamp, parse_time, subtract_start


def find_time(description: Description, key: str, listed: ListedRecording, recording: Recording) -> float:
    """Return the time in the column of "window.start" or "table.end", in s from the start of a recording.

    DataError when there is no such column, no time in it, or no start to count time stamps from.
    """
    table = description.table
    column = description.window.start if key == "window.start" else table.end
    require_column(description, key, column, listed.row)
    try:
        if table.time_unit != "datetime":
            return parse_time(listed.row[column], table.time_unit, table.time_format, table.decimal)
        time = parse_stamp(listed.row[column], table.time_format)
        start = parse_stamp(listed.row[table.start], table.time_format) if table.start else recording.start
    except ValueError:
        raise DataError(
            f'recording {listed.record} has "{listed.row[column]}" as {column}, where a time was expected'
        ) from None
    if start is None:
        raise DataError(f"{recording.file} does not state when it starts: state table.start")
    return subtract_start(time, start, column, table.start or recording.file)


def ends_early(
    description: Description,
    listed: ListedRecording,
    recording: Recording,
    seconds: float,
    log: PreparationLog,
) -> bool:
    """Return whether a stay ends before `task.after`, so that its outcome is known then, and count it.

    `seconds` is the time from the start of the first window to the end of the recording, which is the end of
    the stay unless the table has it.
    """
    after, table = description.task.after, description.table
    if after is None:
        return False
    if table.end:
        if not listed.row.get(table.end, "unknown"):
            log.count("{} recordings are left out, as the end is not stated.")
            return True
        seconds = find_time(description, "table.end", listed, recording)
        if description.window.start:
            seconds -= find_time(description, "window.start", listed, recording)
    early = seconds < after
    log.count(f"{{}} recordings of less than {format_seconds(after)} are left out.", int(early))
    return early
