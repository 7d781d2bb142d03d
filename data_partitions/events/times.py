"""Times of rows in whole µs: time stamps since 1970, or time elapsed since the start of a recording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from data_partitions.description.durations import SECONDS
from data_partitions.description.time_texts import parse_clock
from data_partitions.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

US_PER_SECOND = 1_000_000
NO_TIME = np.iinfo(np.int64).min
COMMON_FORMATS = (
    "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%b-%Y %H:%M:%S", "%Y%m%d%H%M%S",
)  # fmt: skip
_ZONE = re.compile(r"(?<=\d)\s*(Z|[+-]\d\d(:?\d\d)?)$")


class TimeReader:
    """Reads the times of one data set: "datetime", or elapsed in ms, s, min, h or d, or HH:MM or HH:MM:SS.

    `format` is that of time stamps, "" for ISO 8601; `key` is the setting of the description, for messages.
    """

    def __init__(self, unit: str, format: str = "", decimal: str = ".", key: str = "files.time-format"):
        if unit != "datetime" and unit not in SECONDS:
            raise DataError(
                f'{key.replace("format", "unit")} "{unit}" is unknown: give "datetime" or one of '
                f"{', '.join(SECONDS)}"
            )
        self.is_elapsed = unit != "datetime"
        self._unit, self._format, self._decimal, self._key = unit, format, decimal, key
        self.has_zone: bool | None = None  # of the time stamps so far; None before the first

    def read(self, times: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Read a column of texts, numbers or time stamps; DataError when some have a time zone, others none.

        Returns int64 (µs) `(row,)`, NO_TIME where there is no time that can be read, and bool `(row,)`, where
        there is a text that is not a time.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_duration(times.type):
            if not self.is_elapsed:
                raise DataError(
                    "expected time stamps, but the column has durations: set "
                    f'{self._key.replace("format", "unit")} = "s"'
                )
            return np.asarray(
                times.cast(pa.duration("us"), safe=False).cast(pa.int64()).fill_null(NO_TIME)
            ), (np.zeros(len(times), bool))
        if pa.types.is_temporal(times.type):
            if self.is_elapsed:
                raise DataError(
                    f"expected elapsed times in {self._unit}, but the column has time stamps: set "
                    f'{self._key.replace("format", "unit")} = "datetime"'
                )
            stamps = times.cast(pa.timestamp("us", tz=getattr(times.type, "tz", None)), safe=False)
            self._note_zones({getattr(times.type, "tz", None) is not None})
            microseconds = np.asarray(stamps.cast(pa.int64()).fill_null(NO_TIME))
            return microseconds, np.zeros(len(times), bool)
        if pa.types.is_integer(times.type) or pa.types.is_floating(times.type):
            if not self.is_elapsed:
                times = times.cast(pa.string())
            else:
                numbers = np.asarray(times.cast(pa.float64()).fill_null(np.nan))
                return _to_microseconds(numbers * SECONDS[self._unit]), np.zeros(len(times), bool)
        # Most times repeat, so that each is read once.
        encoded = times.dictionary_encode()
        texts = [str(text).strip() for text in encoded.dictionary.to_pylist()]
        distinct = self.read_elapsed(texts) if self.is_elapsed else self.read_stamps(texts)
        codes = np.asarray(pc.fill_null(encoded.indices, len(texts)))
        known = np.append(distinct, NO_TIME)
        wrong = np.append(
            [value == NO_TIME and text != "" for value, text in zip(distinct, texts, strict=True)], False
        )
        return known[codes], wrong[codes].astype(bool)

    def read_elapsed(self, texts: Sequence[str]) -> np.ndarray:
        """Read elapsed times: numbers in the unit, HH:MM or HH:MM:SS."""
        import pandas as pd

        column = pd.Series(list(texts), dtype=object)
        numbers = pd.to_numeric(
            column if self._decimal == "." else column.str.replace(self._decimal, "."), errors="coerce"
        )
        seconds = numbers.to_numpy(float) * SECONDS[self._unit]
        for row in np.flatnonzero(np.isnan(seconds)).tolist():
            clock = parse_clock(texts[row])
            seconds[row] = np.nan if clock is None else clock
        return _to_microseconds(seconds)

    def read_stamps(self, texts: Sequence[str]) -> np.ndarray:
        """Read time stamps; those with a time zone are converted to UTC."""
        import pandas as pd

        stamps_written = [text for text in texts if text]
        if not self._format or "%z" in self._format:
            self._note_zones({_ZONE.search(text) is not None and ":" in text for text in stamps_written})
        # Out of range for nanoseconds would be years before 1677: pandas keeps coarser units.
        stamps = pd.to_datetime(
            pd.Series(list(texts), dtype=object), format=self._format or "ISO8601", errors="coerce", utc=True
        )
        values = stamps.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
        return np.where(stamps.isna(), NO_TIME, values)

    def suggest(self, text: str) -> str:
        """Say what to do about a time that cannot be read."""
        import pandas as pd

        if self.is_elapsed:
            unit = f'{self._key.replace("format", "unit")} = "datetime"'
            return f"expected a number of {self._unit} or HH:MM; for time stamps set {unit}"
        fitting = [
            f'"{format}"'
            for format in COMMON_FORMATS
            if not pd.isna(pd.to_datetime(text, format=format, errors="coerce"))
        ]
        expected = f'in the format "{self._format}"' if self._format else "like 2150-01-31 12:00:00"
        return f"expected time stamps {expected}; set {self._key}" + (
            f" = {' or '.join(fitting)}" if fitting else " to their format"
        )

    def _note_zones(self, zones: set[bool]) -> None:
        for has_zone in zones:
            if self.has_zone is None:
                self.has_zone = has_zone
            elif self.has_zone != has_zone:
                raise DataError(
                    "some time stamps have a time zone and others have none, and so cannot be compared: "
                    "write all with their zone, or all in one local time"
                )


def _to_microseconds(seconds: np.ndarray) -> np.ndarray:
    """Round to whole microseconds, so that 0.3 h is in the minute in which it was written."""
    known = np.isfinite(seconds) & (np.abs(seconds) < 1e12)
    return np.where(known, np.round(np.where(known, seconds, 0) * US_PER_SECOND), NO_TIME).astype(np.int64)
