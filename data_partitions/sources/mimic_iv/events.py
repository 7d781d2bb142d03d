"""From MIMIC-IV's tables of events to the last value of each variable in each hour of ICU stays."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv.items import (
    ARTERIAL,
    CELSIUS,
    GCS_PARTS,
    ITEMS,
    VARIABLES,
    in_units,
    to_celsius,
)
from data_partitions.sources.mimic_iv.tables import find_table, stream_table

HOURS = 48
TIME, TEXT = "S19", "S16"  # bytes that numpy can parse as times, and the beginning of a text
COLUMNS = {
    "chartevents": {"stay_id": float, "charttime": TIME, "itemid": float, "value": TEXT, "valuenum": float},
    "outputevents": {"stay_id": float, "charttime": TIME, "itemid": float, "value": float},
    "labevents": {"subject_id": float, "charttime": TIME, "itemid": float, "valuenum": float},
}
_NAMES = list(VARIABLES)
_LEAST, _GREATEST = (np.array([bounds[i] for bounds in VARIABLES.values()]) for i in (1, 2))
_FAR = 2**40  # seconds, more than between any two times


def hourly_values(
    source: Path, stays: pd.DataFrame, report: PreparationLog, chartevents: str | Path | None = None
) -> np.ndarray:
    """Last value in each hour from `intime` on: float32 (stay, variable, 48), NaN where there is none.

    `stays` has stay_id, subject_id (int) and intime (datetime64). Within an hour a blood pressure by
    arterial line wins over one by cuff; of two values at one time the greater is taken, so that the order
    of rows means nothing. What is dropped is counted in notes.
    """
    hours = _Hours(len(stays))
    dropped: Counter[str] = Counter()
    for table in COLUMNS:
        file = Path(chartevents) if table == "chartevents" and chartevents else find_table(source, table)
        if not file.is_file():
            raise DataError(
                f"there is no file {file}: chartevents must be the path of that table, or not given"
            )
        by = "subject_id" if table == "labevents" else "stay_id"
        windows = _Windows(stays[by].to_numpy(), stays["intime"].to_numpy())
        for events in _events(file, table, windows, report, dropped):
            hours.add(*events)
    _tell(dropped, report)
    values = hours.values.reshape(len(stays), len(VARIABLES), HOURS)
    values[:, _NAMES.index("GCS total")] = sum(values[:, _NAMES.index(part)] for part in GCS_PARTS)
    return values


def _events(
    file: Path, table: str, windows: "_Windows", report: PreparationLog, dropped: Counter[str]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Row of the stay, variable, second after `intime`, priority and value of the events that count."""
    columns = COLUMNS[table]
    by = "subject_id" if "subject_id" in columns else "stay_id"
    number = "valuenum" if "valuenum" in columns else "value"
    variable_of = np.full(max(map(max, ITEMS[table].values())) + 2, -1, np.int16)  # the last is no item
    for name, items in ITEMS[table].items():
        variable_of[list(items)] = _NAMES.index(name)
    for chunk in stream_table(file, columns, report):
        # Each step takes away rows, so that the costly ones see few.
        item = np.nan_to_num(chunk["itemid"].to_numpy()).clip(0, len(variable_of) - 1).astype(np.intp)
        rows = np.flatnonzero(variable_of[item] >= 0)
        owner, known = windows.owner(chunk[by].to_numpy()[rows])
        rows, owner = rows[known], owner[known]
        item, value = item[rows], chunk[number].to_numpy()[rows]
        if TEXT in columns.values():
            value = in_units(item, value, chunk["value"].to_numpy()[rows].astype(TEXT, copy=False))
        else:
            value = in_units(item, value)
        stay, second = windows.find(owner, _seconds(chunk["charttime"].to_numpy()[rows], file))
        if by == "stay_id":
            dropped["early"] += int((stay < 0).sum())
        variable = variable_of[item]
        inside = (stay >= 0) & (second < HOURS * 3600) & ~np.isnan(value)
        plausible = (value >= _LEAST[variable]) & (value <= _GREATEST[variable])
        for odd, count in enumerate(np.bincount(variable[inside & ~plausible], minlength=len(_NAMES))):
            dropped[_NAMES[odd]] += int(count)
        fahrenheit = inside & ~plausible & (item == CELSIUS)
        celsius, (_, least, greatest) = to_celsius(value[fahrenheit]), VARIABLES["temperature"]
        dropped["Fahrenheit"] += int(((celsius >= least) & (celsius <= greatest)).sum())
        kept = inside & plausible
        priority = np.isin(item[kept], ARTERIAL)
        yield stay[kept], variable[kept], second[kept], priority, value[kept]


def _seconds(text: np.ndarray, file: Path) -> np.ndarray:
    """Times as whole seconds; NaT, where there is none, is before all times."""
    new = np.ones(len(text), bool)  # most are charted together with the one before
    new[1:] = text[1:] != text[:-1]
    try:
        # Not from bytes at once: numpy 2.4 crashes on those that are no time.
        times = text[new].astype(object).astype("datetime64[s]").astype(np.int64)
        return times[np.cumsum(new) - 1]
    except ValueError as error:
        raise DataError(
            f"{file} has a charttime that is no time like 2150-01-31 12:00:00 ({error})"
        ) from None


def _tell(dropped: Counter[str], report: PreparationLog) -> None:
    early, fahrenheit = dropped.pop("early", 0), dropped.pop("Fahrenheit", 0)
    if early:
        report.note(f"Dropped as they were charted before the stay began: {early} values.")
    odd = ", ".join(f"{name} {count}" for name, count in dropped.most_common() if count)
    if odd:
        report.note(f"Dropped as they are outside the plausible range of their variable: {odd}.")
    if fahrenheit:
        report.note(
            f"Of the dropped temperatures {fahrenheit} were under the Celsius item ({CELSIUS}) and would be "
            "plausible in Fahrenheit."
        )


class _Windows:
    """Which window an event of a stay or a patient falls in: the last that began before it."""

    def __init__(self, owners: np.ndarray, starts: np.ndarray):
        self._owners, owner = np.unique(owners.astype(float), return_inverse=True)  # ids are read as floats
        begin = owner * _FAR + starts.astype("datetime64[s]").astype(np.int64)
        self._stay = np.argsort(begin)
        self._begin, self._owner = begin[self._stay], owner[self._stay]

    def owner(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the owner, and whether there is one of that id."""
        owner = np.searchsorted(self._owners, ids).clip(max=len(self._owners) - 1)
        return owner, self._owners[owner] == ids

    def find(self, owner: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of the stay, -1 where none had begun, and seconds since it began."""
        place = np.searchsorted(self._begin, owner * _FAR + time, side="right") - 1
        begun = (place >= 0) & (self._owner[place] == owner)
        return np.where(begun, self._stay[place], -1), owner * _FAR + time - self._begin[place]


@dataclass
class _Hours:
    """The best value so far of each (stay, variable, hour), whatever order they come in."""

    stays: int

    def __post_init__(self):
        cells = self.stays * len(VARIABLES) * HOURS
        self.values = np.full(cells, np.nan, np.float32)
        self._rank = np.full(cells, -1, np.int16)  # priority, then second within the hour

    def add(self, stay, variable, second, priority, value) -> None:
        cell = (stay * len(VARIABLES) + variable) * HOURS + second // 3600
        rank = (priority * 3600 + second % 3600).astype(np.int16)
        before = self._rank[cell]
        np.maximum.at(self._rank, cell, rank)
        after = self._rank[cell]
        self.values[cell[after > before]] = np.nan
        best = rank == after
        np.fmax.at(self.values, cell[best], value[best].astype(np.float32))
