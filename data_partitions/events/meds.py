"""MEDS (McDermott et al., https://medical-event-data-standard.github.io): stays by events and label files.

A stay begins at each event that has the code of the description, such as "ICU_ADMISSION//*". With a label
file, each of its rows is a stay: it begins at the last such event before the prediction time, or, if the
description names no code, as long before the prediction time as a window lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import FilesSection
from data_partitions.errors import DataError
from data_partitions.events.codes import Codes
from data_partitions.events.drops import Drops
from data_partitions.events.files import EventFile
from data_partitions.events.reading import EventReader, Recordings, map_texts
from data_partitions.events.rows import FileFaults
from data_partitions.events.times import NO_TIME
from data_partitions.preparation_log import PreparationLog

BIRTH = "MEDS_BIRTH"
LABEL_COLUMNS = ("boolean_value", "integer_value", "float_value", "categorical_value")
US_PER_YEAR = 365.25 * 86400e6


def find_occurrences(
    files: Sequence[EventFile], section: FilesSection, codes: Sequence[str], log: PreparationLog
) -> pd.DataFrame:
    """List the events of some codes, in which `*` stands for any text, by subject and time, each once.

    The columns are `subject` (text), `code` (the one of `codes`) and `us` (µs since 1970).
    """
    reader = EventReader(section, None, FileFaults(log), Drops())
    subjects, parts = Recordings(is_open=True), []
    finder = Codes(codes)
    for rows in reader.read_rows(files):
        code = map_texts(rows.columns[reader.section.variable], finder.find)
        subject = reader.find_recordings(rows, subjects)
        selected = np.flatnonzero((code >= 0) & (subject >= 0))
        times = reader.read_times(rows, selected)
        part = {"subject": subject[selected], "code": code[selected], "us": times}
        parts.append(pd.DataFrame(part)[times != NO_TIME])
    if not parts:
        raise DataError("the MEDS files have no rows")
    table = pd.concat(parts).drop_duplicates().sort_values(["subject", "us"], ignore_index=True)
    names = np.array([*subjects.positions, ""], dtype=object)
    texts = table.assign(
        subject=names[table["subject"]], code=np.array([*codes, ""], dtype=object)[table["code"]]
    )
    return texts.astype({"subject": str, "code": str})  # also without any event


def list_stays(occurrences: pd.DataFrame, start: str, end: str, birth: str = BIRTH) -> pd.DataFrame:
    """List the stays that begin at each event of the code `start`.

    The columns are `record` ("SUBJECT-1", "SUBJECT-2", ... in the order of time), `subject`, `start_us`,
    `end_us` (the first event of the code `end` after the start; NO_TIME without one) and `age` (years, "" if
    unknown).
    """
    starts = occurrences[occurrences["code"] == start]
    number = (starts.groupby("subject").cumcount() + 1).astype(str)
    stays = pd.DataFrame(
        {
            "record": starts["subject"] + "-" + number,
            "subject": starts["subject"],
            "start_us": starts["us"],
        }
    ).reset_index(drop=True)
    return _add_ends(stays, occurrences, end, birth)


def list_labelled(
    occurrences: pd.DataFrame, labels: pd.DataFrame, start: str, end: str, length_us: int, log: PreparationLog
) -> pd.DataFrame:
    """List the stays of the rows of a label file, as `list_stays`, with `label`, the text of the label.

    A row is left out and counted if no event of the code `start` precedes its prediction time, or the window
    would end after it.
    """
    stays = labels.rename(columns={"prediction_us": "start_us"}).sort_values("start_us")
    if start:
        starts = occurrences[occurrences["code"] == start].sort_values("us")
        events = pd.DataFrame({"subject": starts["subject"], "event_us": starts["us"]})
        stays = pd.merge_asof(stays, events, left_on="start_us", right_on="event_us", by="subject")
        begin = stays["event_us"].fillna(NO_TIME).astype(np.int64)
    else:
        begin = stays["start_us"] - length_us
    known, ended = begin != NO_TIME, begin + length_us <= stays["start_us"]
    sentence = (
        f"Rows of the label file: {len(stays)}. Left out are those without {start or 'a start'} before their "
        f"prediction time ({int((~known).sum())}), and those whose window would end after it "
        f"({int((known & ~ended).sum())})."
    )
    if not (known & ended).any():
        raise DataError(
            f"no row of the label file has a window. {sentence} Correct `start` or `length` in [window]"
        )
    log.note(sentence)
    stays = stays.assign(start_us=begin)[known & ended].sort_values(["subject", "start_us"])
    number = (stays.groupby("subject").cumcount() + 1).astype(str)
    stays = stays.assign(record=stays["subject"] + "-" + number)
    columns = ["record", "subject", "start_us", "label"]
    return _add_ends(stays[columns].reset_index(drop=True), occurrences, end, BIRTH)


def read_label_file(file: Path, log: PreparationLog, needs_labels: bool = True) -> pd.DataFrame:
    """Read a label file: `subject`, `prediction_us` and `label`, the text of its first value column.

    Rows without a subject or a time that can be read are left out and counted.
    """
    try:
        is_parquet = file.suffix == ".parquet"
        table = pd.read_parquet(file) if is_parquet else pd.read_csv(file, dtype=str, index_col=False)
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{file} is not a readable label file ({words})") from None
    values = [name for name in LABEL_COLUMNS if name in table and table[name].notna().any()]
    missing = [name for name in ("subject_id", "prediction_time") if name not in table]
    if missing or (needs_labels and not values):
        raise DataError(
            f"{file} has no {', '.join(missing) or 'value'}: a MEDS label file has subject_id, "
            f"prediction_time and one of {', '.join(LABEL_COLUMNS)}"
        )
    times = table["prediction_time"]
    if not pd.api.types.is_datetime64_any_dtype(times):
        times = pd.to_datetime(times, format="ISO8601", errors="coerce", utc=True)
    times = pd.to_datetime(times, utc=True)
    subjects = table["subject_id"].map(_format_subject)
    labels = pd.DataFrame(
        {
            "subject": subjects,
            "prediction_us": times.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64),
            "label": table[values[0]].map(_format_label) if values else "",
        }
    )
    usable = times.notna() & (subjects != "")
    log.count(
        "{} rows of the label file are left out, as they have no subject or no time that can be read.",
        int((~usable).sum()),
    )
    return labels[usable.to_numpy()].reset_index(drop=True)


def _format_subject(value: object) -> str:
    return "" if value is None or value != value else normalise(str(value))


def _add_ends(stays: pd.DataFrame, occurrences: pd.DataFrame, end: str, birth: str) -> pd.DataFrame:
    ends = occurrences[occurrences["code"] == end].sort_values("us")
    events = pd.DataFrame({"subject": ends["subject"], "end_us": ends["us"]})
    stays = stays.assign(order=range(len(stays))).sort_values("start_us")
    stays = pd.merge_asof(
        stays, events, left_on="start_us", right_on="end_us", by="subject", direction="forward"
    ).sort_values("order", ignore_index=True)
    stays["end_us"] = stays["end_us"].fillna(NO_TIME).astype(np.int64)
    births = occurrences[occurrences["code"] == birth].drop_duplicates("subject").set_index("subject")["us"]
    years = (stays["start_us"] - stays["subject"].map(births)) / US_PER_YEAR
    stays["age"] = ["" if np.isnan(age) else f"{age:.2f}" for age in years]
    return stays.drop(columns="order")


def _format_label(value: object) -> str:
    if value is None or value != value:
        return ""
    text = str(value).strip()
    return text.lower() if text in ("True", "False", "TRUE", "FALSE") else text
