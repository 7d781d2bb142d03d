"""Reduce MIMIC-IV's tables of events to the last value of each variable in each hour of an ICU stay."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_partitions.checkpoint import Checkpoint, PassState
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun
from data_partitions.sources.mimic_iv.items import (
    ARTERIAL_ITEMS,
    CELSIUS,
    GCS_PARTS,
    ITEMS,
    VARIABLES,
    convert_values,
    to_celsius,
)
from data_partitions.sources.mimic_iv.tables import find_table, stream_table

WINDOW_HOURS = 48
TIME_DTYPE = "S19"  # the length of "2150-01-31 12:00:00", which numpy can parse
TEXT_DTYPE = "S16"  # the first bytes of a charted text suffice
COLUMNS: dict[str, dict[str, Any]] = {
    "chartevents": {
        "stay_id": float,
        "charttime": TIME_DTYPE,
        "itemid": float,
        "value": TEXT_DTYPE,
        "valuenum": float,
    },
    "outputevents": {"stay_id": float, "charttime": TIME_DTYPE, "itemid": float, "value": float},
    "labevents": {"subject_id": float, "charttime": TIME_DTYPE, "itemid": float, "valuenum": float},
}
_NAMES = list(VARIABLES)
_LOWEST, _HIGHEST = (np.array([bounds[i] for bounds in VARIABLES.values()]) for i in (1, 2))
# Owners follow each other on one time axis, at a distance that exceeds all differences of times.
_OWNER_SECONDS = 2**40


def hourly_values(
    source: Path,
    stays: pd.DataFrame,
    log: PreparationLog,
    chartevents: str | Path | None = None,
    checkpoint: Checkpoint | None = None,
) -> np.ndarray:
    """Return the last value in each hour from `intime` on: float32 (stay, variable, 48 hours), or NaN.

    Within an hour a blood pressure by arterial line is preferred to one by cuff. Of two values at the same
    time the larger one is taken, so that the order of rows does not matter. Notes count the dropped values.
    `stays` has stay_id, subject_id (int) and intime (datetime64). Tables that `checkpoint` has are not read
    again.
    """
    hours = _HourlyValues(len(stays))
    dropped: Counter[str] = Counter()
    files = find_event_tables(source, chartevents)

    def read(table: str) -> Iterator[tuple[np.ndarray, ...]]:
        by = "subject_id" if table == "labevents" else "stay_id"
        windows = _StayWindows(stays[by].to_numpy(), stays["intime"].to_numpy())
        return _read_events(files[table], table, windows, log, dropped)

    def export_state() -> PassState:
        return PassState({"dropped": dropped}, {"values": hours.values, "rank": hours.rank})

    def restore_state(state: PassState) -> None:
        dropped.clear()
        dropped.update(state.facts["dropped"])
        hours.values[:], hours.rank[:] = state.arrays["values"], state.arrays["rank"]

    checkpoint = checkpoint or Checkpoint(None, "", log)
    for events in checkpoint.read_parts(list(files), read, export_state, restore_state):
        hours.add(*events)
    _note_dropped(dropped, log)
    values = hours.values.reshape(len(stays), len(VARIABLES), WINDOW_HOURS)
    values[:, _NAMES.index("GCS total")] = sum(values[:, _NAMES.index(part)] for part in GCS_PARTS)
    return values


def find_event_tables(source: Path, chartevents: str | Path | None = None) -> dict[str, Path]:
    """Find the files of the tables of events; DataError if there is none."""
    if chartevents and not Path(chartevents).is_file():
        raise DataError(
            f"there is no file {chartevents}: give the path of the table as chartevents, or omit it"
        )
    elsewhere = {"chartevents": Path(chartevents)} if chartevents else {}
    return {table: elsewhere.get(table) or find_table(source, table) for table in COLUMNS}


def _read_events(
    file: Path, table: str, windows: "_StayWindows", log: PreparationLog, dropped: Counter[str]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield row of the stay, variable, second after `intime`, priority and value of usable events."""
    columns = COLUMNS[table]
    by = "subject_id" if "subject_id" in columns else "stay_id"
    number = "valuenum" if "valuenum" in columns else "value"
    # The last entry stands for all items with higher numbers.
    variable_of = np.full(max(map(max, ITEMS[table].values())) + 2, -1, np.int16)
    for name, items in ITEMS[table].items():
        variable_of[list(items)] = _NAMES.index(name)
    for chunk in stream_table(file, columns, log):
        # Each step removes rows, so that the costly steps see few.
        item = np.nan_to_num(chunk["itemid"].to_numpy()).clip(0, len(variable_of) - 1).astype(np.intp)
        rows = np.flatnonzero(variable_of[item] >= 0)
        owner, exists = windows.find_owners(chunk[by].to_numpy()[rows])
        rows, owner = rows[exists], owner[exists]
        item, value = item[rows], chunk[number].to_numpy()[rows]
        if TEXT_DTYPE in columns.values():
            value = convert_values(
                item, value, chunk["value"].to_numpy()[rows].astype(TEXT_DTYPE, copy=False)
            )
        else:
            value = convert_values(item, value)
        stay, second = windows.find_stays(owner, _parse_seconds(chunk["charttime"].to_numpy()[rows], file))
        if by == "stay_id":
            dropped["early"] += int((stay < 0).sum())
        variable = variable_of[item]
        inside = (stay >= 0) & (second < WINDOW_HOURS * 3600) & ~np.isnan(value)
        plausible = (value >= _LOWEST[variable]) & (value <= _HIGHEST[variable])
        counts = np.bincount(variable[inside & ~plausible], minlength=len(_NAMES))
        for name, count in zip(_NAMES, counts, strict=True):
            dropped[name] += int(count)
        fahrenheit = inside & ~plausible & (item == CELSIUS)
        celsius, (_, low, high) = to_celsius(value[fahrenheit]), VARIABLES["temperature"]
        dropped["Fahrenheit"] += int(((celsius >= low) & (celsius <= high)).sum())
        usable = inside & plausible
        priority = np.isin(item[usable], ARTERIAL_ITEMS)
        yield stay[usable], variable[usable], second[usable], priority, value[usable]


def _parse_seconds(text: np.ndarray, file: Path) -> np.ndarray:
    """Parse times as whole seconds; a missing time (NaT) is earlier than all others."""
    new = np.ones(len(text), bool)  # most events have the same time as the previous one
    new[1:] = text[1:] != text[:-1]
    try:
        # They are not parsed as bytes, because numpy 2.4 crashes on bytes that are not a time.
        times = text[new].astype(object).astype("datetime64[s]").astype(np.int64)
        return times[np.cumsum(new) - 1]
    except ValueError as error:
        raise DataError(
            f"{file} has a charttime that is not a time like 2150-01-31 12:00:00 ({error})"
        ) from None


def _note_dropped(dropped: Counter[str], log: PreparationLog) -> None:
    early, fahrenheit = dropped.pop("early", 0), dropped.pop("Fahrenheit", 0)
    if early:
        log.note(f"Dropped because they were charted before the stay began: {count_noun(early, 'value')}.")
    counts = ", ".join(f"{name} {count}" for name, count in dropped.most_common() if count)
    if counts:
        log.note(f"Dropped because they are outside the plausible range of their variable: {counts}.")
    if fahrenheit:
        log.note(
            f"Of the dropped temperatures, {fahrenheit} have the Celsius item ({CELSIUS}) and would be "
            "plausible in Fahrenheit."
        )


class _StayWindows:
    """Finds the window of an event of a stay or a patient: the last one that began before the event."""

    def __init__(self, owners: np.ndarray, starts: np.ndarray):
        self._owners, owner = np.unique(owners.astype(float), return_inverse=True)  # ids are read as floats
        begin = owner * _OWNER_SECONDS + starts.astype("datetime64[s]").astype(np.int64)
        self._stay = np.argsort(begin)
        self._begin, self._owner = begin[self._stay], owner[self._stay]

    def find_owners(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the owner of each id, and whether it exists."""
        owner = np.searchsorted(self._owners, ids).clip(max=len(self._owners) - 1)
        return owner, self._owners[owner] == ids

    def find_stays(self, owner: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the row of the stay (-1 where none had begun) and the seconds since its start."""
        position = np.searchsorted(self._begin, owner * _OWNER_SECONDS + time, side="right") - 1
        has_begun = (position >= 0) & (self._owner[position] == owner)
        seconds = owner * _OWNER_SECONDS + time - self._begin[position]
        return np.where(has_begun, self._stay[position], -1), seconds


@dataclass
class _HourlyValues:
    """The best value so far of each (stay, variable, hour), for values that come in any order."""

    stays: int

    def __post_init__(self):
        cells = self.stays * len(VARIABLES) * WINDOW_HOURS
        self.values = np.full(cells, np.nan, np.float32)
        self.rank = np.full(cells, -1, np.int16)  # priority, then second within the hour

    def add(self, stay, variable, second, priority, value) -> None:
        cell = (stay * len(VARIABLES) + variable) * WINDOW_HOURS + second // 3600
        rank = (priority * 3600 + second % 3600).astype(np.int16)
        before = self.rank[cell]
        np.maximum.at(self.rank, cell, rank)
        after = self.rank[cell]
        self.values[cell[after > before]] = np.nan
        best = rank == after
        np.fmax.at(self.values, cell[best], value[best].astype(np.float32))
