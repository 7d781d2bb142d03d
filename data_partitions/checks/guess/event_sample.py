"""A sample of the measurements of tables over time, by recording and signal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_partitions.checks.channel_smells import codes_for_missing
from data_partitions.checks.guess.known_signals import plain_name
from data_partitions.checks.guess.roles import find_by_words
from data_partitions.checks.guess.tables import ColumnFacts
from data_partitions.events.times import NO_TIME, US_PER_SECOND, TimeReader

TIME_WORDS = (
    "timestamp", "charttime", "datetime", "time", "observationtime", "recordtime", "measuredat", "storetime",
    "observationoffset", "offset", "date", "hours", "hour", "minutes", "minute", "min", "seconds", "second",
    "elapsed", "t",
)  # fmt: skip
RECORD_WORDS = (
    "stayid", "icustayid", "patientunitstayid", "stay", "encounterid", "encounter", "admissionid", "hadmid",
    "visitid", "caseid", "case", "recordid", "record", "recordingid", "patientid", "subjectid", "patient",
    "subject", "uniquepid", "id",
)  # fmt: skip
VARIABLE_WORDS = (
    "variable", "parameter", "itemid", "item", "code", "name", "label", "measurement", "signal", "channel",
    "test", "labname", "concept", "attribute", "vital",
)  # fmt: skip
VALUE_WORDS = ("value", "valuenum", "numericvalue", "result", "labresult", "reading", "val")
UNIT_WORDS = ("unit", "units", "uom", "valueuom", "valueunit")
UNIT_OF_WORD = {
    "second": "s",
    "sec": "s",
    "minute": "min",
    "min": "min",
    "offset": "min",
    "hour": "h",
    "day": "d",
}
MIN_ROWS_OF_RECORDING = 2  # on average, for a table to be one over time
MIN_POSITIVE_CODE = 99  # smaller numbers are measured too often


class EventLayout(NamedTuple):
    """Which columns have what; "" where there is none."""

    time: str
    record: str
    variable: str
    value: str
    unit: str
    time_unit: str  # "datetime", or the unit of elapsed time
    time_unit_is_stated: bool  # whether the name of the column or the form of the cells gives the unit
    time_format: str  # of time stamps that are not in ISO 8601
    signals: tuple[str, ...]  # columns with values, of tables in wide form


class EventSample(NamedTuple):
    """Measurements: arrays `(event,)` of each signal, and the times of each recording in s."""

    values: Mapping[str, np.ndarray]
    recordings: Mapping[str, np.ndarray]
    times_of_recording: Mapping[str, np.ndarray]
    units: Mapping[str, dict[str, int]]


def find_layout(columns: Mapping[str, ColumnFacts], one_file_per_recording: bool) -> EventLayout | None:
    """Say which columns have times, recordings and values; None if this is no table over time."""
    time = _find_time(columns)
    if not time:
        return None
    record = "" if one_file_per_recording else _find_record(columns, time)
    if not record and not one_file_per_recording:
        return None
    texts = {name for name, facts in columns.items() if facts.kind == "text"}
    codes = {name for name, facts in columns.items() if facts.is_whole and facts.distinct > 1}
    variable = find_by_words(
        [name for name in columns if name in texts | codes and name != record], VARIABLE_WORDS
    )
    numeric = [
        name for name, facts in columns.items() if facts.kind == "number" and name not in (time, record)
    ]
    value = find_by_words([name for name in numeric if name != variable], VALUE_WORDS)
    if not (variable and value):
        variable = value = ""
    unit = find_by_words(texts, UNIT_WORDS) if variable else ""
    signals = tuple(name for name in numeric if not _is_identifier(name)) if not variable else ()
    if not variable and not signals:
        return None
    facts = columns[time]
    time_unit, stated = _guess_time_unit(facts)
    return EventLayout(time, record, variable, value, unit, time_unit, stated, facts.time_format, signals)


def _find_time(columns: Mapping[str, ColumnFacts]) -> str:
    stamps = [name for name, facts in columns.items() if facts.kind in ("datetime", "clock")]
    by_word = find_by_words(stamps, TIME_WORDS)
    if by_word or stamps:
        return by_word or stamps[0]
    numbers = [name for name, facts in columns.items() if facts.kind == "number"]
    exact = find_by_words(numbers, TIME_WORDS)
    with_unit = [
        name for name in numbers if re.fullmatch(r"(time|elapsed|offset|t)[ _\[(-].*", name.casefold())
    ]
    offset = [name for name in numbers if plain_name(name).endswith("offset")]
    return exact or next(iter([*with_unit, *offset]), "")


def _find_record(columns: Mapping[str, ColumnFacts], time: str) -> str:
    repeated = [
        name
        for name, facts in columns.items()
        if name != time
        and (facts.kind == "text" or facts.is_whole)
        and facts.rows >= MIN_ROWS_OF_RECORDING * facts.distinct
    ]
    return find_by_words(repeated, RECORD_WORDS)


def _is_identifier(name: str) -> bool:
    form = plain_name(name)
    return form in RECORD_WORDS or (form.endswith("id") and form not in ("", "id") and len(form) > 4)


def _guess_time_unit(facts: ColumnFacts) -> tuple[str, bool]:
    if facts.kind == "datetime":
        return "datetime", True
    if facts.kind == "clock":
        return "h", True
    form = plain_name(facts.name)
    for word, unit in UNIT_OF_WORD.items():
        if word in form:
            return unit, True
    if re.search(r"[_\[( -]h[\])]?$", facts.name.casefold()):
        return "h", True
    return ("h" if facts.high <= 24 * 60 else "min" if facts.high <= 7 * 24 * 60 * 10 else "s"), False


def collect_events(
    frames: Sequence[tuple[str, pd.DataFrame]], layout: EventLayout, decimal: str = "."
) -> EventSample:
    """Read the measurements of tables, each with the name of its recording, or "" if a column has it."""
    values: dict[str, list[np.ndarray]] = {}
    recordings: dict[str, list[np.ndarray]] = {}
    times: dict[str, list[np.ndarray]] = {}
    units: dict[str, dict[str, int]] = {}
    for name, frame in frames:
        record = frame[layout.record].to_numpy(str) if layout.record else np.full(len(frame), name)
        seconds = parse_times(frame[layout.time], layout, decimal)
        for recording, of_recording in pd.Series(seconds).groupby(record):
            times.setdefault(str(recording), []).append(of_recording.to_numpy())
        if layout.variable:
            numbers = _to_numbers(frame[layout.value], decimal)
            for variable, rows in frame.groupby(layout.variable, sort=False).indices.items():
                values.setdefault(str(variable), []).append(numbers[rows])
                recordings.setdefault(str(variable), []).append(record[rows])
                if layout.unit:
                    counts = units.setdefault(str(variable), {})
                    for unit, count in frame[layout.unit].iloc[rows].value_counts().items():
                        counts[str(unit)] = counts.get(str(unit), 0) + int(count)
        else:
            for variable in layout.signals:
                if variable in frame:
                    values.setdefault(variable, []).append(_to_numbers(frame[variable], decimal))
                    recordings.setdefault(variable, []).append(record)
    return EventSample(
        {key: np.concatenate(parts) for key, parts in values.items()},
        {key: np.concatenate(parts) for key, parts in recordings.items()},
        {key: np.concatenate(parts) for key, parts in times.items()},
        units,
    )


def drop_codes(sample: EventSample) -> tuple[EventSample, dict[float, list[str]]]:
    """Return the sample without codes that seem to stand for missing, and the signals that have each code."""
    signals_of: dict[float, list[str]] = {}
    values = {}
    for name, numbers in sample.values.items():
        codes = [code for code in codes_for_missing(numbers) if code < 0 or code >= MIN_POSITIVE_CODE]
        for code in codes:
            signals_of.setdefault(code, []).append(name)
        values[name] = np.where(np.isin(numbers, codes), np.nan, numbers)
    return sample._replace(values=values), signals_of


def parse_times(cells: pd.Series, layout: EventLayout, decimal: str = ".") -> np.ndarray:
    """Return times in s; NaN where a cell is none."""
    reader, texts = TimeReader(layout.time_unit, layout.time_format, decimal), cells.tolist()
    times = reader.read_elapsed(texts) if reader.is_elapsed else reader.read_stamps(texts)
    return np.where(times == NO_TIME, np.nan, times / US_PER_SECOND)


def _to_numbers(cells: pd.Series, decimal: str) -> np.ndarray:
    texts = cells.str.replace(decimal, ".") if decimal != "." else cells
    return pd.to_numeric(texts, errors="coerce").to_numpy(float)
