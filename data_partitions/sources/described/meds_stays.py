"""The stays of MEDS files, as rows of a table: patient, age, properties, and the label of a label file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.events.meds import BIRTH, find_occurrences, list_labelled, list_stays, read_label_file
from data_partitions.events.recordings import index_recordings
from data_partitions.events.times import NO_TIME, US_PER_SECOND
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.faults import description_error


def subject_of(record: str) -> str:
    """Return the subject of a stay: "10001725" of "10001725-1"."""
    return record.rpartition("-")[0]


def list_meds_stays(
    description: Description,
    source: Path,
    files: Sequence[EventFile],
    table: pd.DataFrame | None,
    log: PreparationLog,
) -> tuple[list[dict[str, str]], pd.DataFrame]:
    """List the stays of MEDS files as texts of rows, and their times.

    A row has `record`, `patient` (the subject), `age` (years at the start), the properties of the
    description, `label` if there is a label file, and the columns of the table, whose `record` is the
    subject. Times are `start` and `end`, in s since 1970, NaN where there is no end.
    """
    start, end = description.window.start, description.table.end
    codes = [code for code in (start, end, BIRTH) if code]
    occurrences = find_occurrences(files, description.files, codes, log)
    if start and not (occurrences["code"] == start).any():
        raise description_error(description, "window.start", f'no event has the code "{start}"')
    if description.task.file:
        file = source / description.task.file
        if not file.is_file():
            raise description_error(description, "task.file", f"there is no {file}")
        length = round(description.window.length * US_PER_SECOND)
        labels = read_label_file(file, log, needs_labels=description.task.kind != "none")
        stays = list_labelled(occurrences, labels, start, end, length, log)
    elif start:
        stays = list_stays(occurrences, start, end)
    else:
        raise description_error(
            description, "window.start", 'events have no start: give a code, such as "ICU_ADMISSION//*"'
        )
    if stays.empty:
        raise DataError(f"no subject of {source} has a stay")
    properties = description.table.properties
    if properties:
        of_subject = index_recordings(files, description.files, log, properties)[list(properties)]
        stays = stays.join(of_subject, on="subject")
    if table is not None:
        column = description.table.record
        unique = table.drop_duplicates(column).set_index(column)
        stays = stays.join(unique[unique.columns.difference(stays.columns)], on="subject")
    times = stays[["start_us", "end_us"]].where(stays[["start_us", "end_us"]] != NO_TIME) / US_PER_SECOND
    times = times.set_axis(["start", "end"], axis=1).set_index(stays["record"])
    texts = stays.drop(columns=["start_us", "end_us"]).rename(columns={"subject": "patient"}).fillna("")
    rows: list[Any] = texts.to_dict("records")
    return rows, times
