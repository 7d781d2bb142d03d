"""The header of EDF, EDF+, BDF and BDF+ files (Kemp et al., Electroencephalography and Clinical
Neurophysiology 82:391, 1992; Kemp & Olivan, Clinical Neurophysiology 114:1755, 2003).

Unlike mne, it gives the rate of each channel and the position of its samples. Fields that reading does not
need may have any content.
"""

import math
import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from data_partitions.errors import DataError
from data_partitions.sentences import shorten

ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
MAX_FIELD = 99_999_999  # the largest number of 8 characters
_BDF = b"\xffBIOSEMI"
# name, transducer, unit, lowest and highest physical and digital value, filters, samples, reserved
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)


class EdfScale(NamedTuple):
    """A physical value, in the unit of its channel, is offset + gain × digital value."""

    low: int  # lowest digital value
    high: int  # highest digital value
    gain: float
    offset: float


class EdfChannel(NamedTuple):
    """One signal. Its ranges are the text of the file, because few readers need them."""

    name: str
    unit: str
    physical_range: tuple[str, str]
    digital_range: tuple[str, str]
    start: int  # position of its samples in a data record
    samples: int  # number of its samples in a data record

    def scale(self) -> EdfScale:
        """Return the scale; ValueError when the ranges give none."""
        low, high = (round(_parse_number(text)) for text in self.digital_range)
        bottom, top = map(_parse_number, self.physical_range)
        if high == low or top == bottom:
            raise ValueError(f"{self.name} has no range")
        gain = (top - bottom) / (high - low)
        if not math.isfinite(gain) or not math.isfinite(bottom - gain * low):
            raise ValueError(f"{self.name} has no range")
        return EdfScale(min(low, high), max(low, high), gain, bottom - gain * low)


class EdfHeader(NamedTuple):
    """The header of a file."""

    start: datetime | None  # None if the file has no readable date and time
    time_of_day: int | None  # of the start, in s
    reserved: str  # "EDF+C" or "EDF+D" in EDF+ files
    bytes: int  # length of the header
    records: int  # number of complete data records
    stated_records: int | None  # by the header
    padding: int  # bytes after the last complete data record
    record_seconds: float  # length of a data record
    sample_bytes: int  # 2, or 3 in BDF files
    channels: tuple[EdfChannel, ...]

    @property
    def record_samples(self) -> int:
        """Samples of all channels in a data record."""
        return sum(channel.samples for channel in self.channels)

    @property
    def record_bytes(self) -> int:
        """Bytes of a data record."""
        return self.record_samples * self.sample_bytes

    def rate(self, channel: EdfChannel) -> float:
        """Return the samples per second of a channel; 0 if data records have no length."""
        return channel.samples / self.record_seconds if self.record_seconds else 0.0


def read_edf_header(file: Path) -> EdfHeader:
    """Read a header; DataError when it cannot be read or a field that is needed is wrong.

    The number of data records is that of the file, whatever the header says.
    """
    try:
        with open(file, "rb") as opened:
            fixed = opened.read(256)
            count = int(_parse_field(file, "number of channels", fixed[252:256]))
            table = opened.read(256 * count)
            size = opened.seek(0, 2)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    if len(table) < 256 * count:
        raise DataError(
            f"{file} is not an EDF file, or ends in its header of {count} channels: fetch it again"
        )
    record_seconds = _parse_field(file, "length of data records", fixed[244:252], whole=False)
    columns, start = [], 0
    for width in _WIDTHS:
        columns.append([table[start + i * width : start + (i + 1) * width] for i in range(count)])
        start += width * count
    names, _, units, bottom, top, low, high, _, numbers, _ = columns
    samples = [int(_parse_field(file, "number of samples", number)) for number in numbers]
    starts = [sum(samples[:i]) for i in range(count)]
    channels = tuple(
        EdfChannel(
            _decode(names[i]),
            _decode(units[i]),
            (_decode(bottom[i]), _decode(top[i])),
            (_decode(low[i]), _decode(high[i])),
            starts[i],
            samples[i],
        )
        for i in range(count)
    )
    sample_bytes = 3 if fixed.startswith(_BDF) else 2
    length, record_bytes = 256 * (count + 1), sample_bytes * sum(samples)
    try:
        stated = int(_parse_number(_decode(fixed[236:244])))
    except ValueError:
        stated = None
    records, padding = _count_records(file, length, size, record_bytes, stated)
    day, time_of_day = _parse_date(_decode(fixed[168:176])), _parse_time(_decode(fixed[176:184]))
    return EdfHeader(
        _combine(day, time_of_day),
        time_of_day,
        _decode(fixed[192:236]),
        length,
        records,
        stated,
        padding,
        record_seconds,
        sample_bytes,
        channels,
    )


def _count_records(
    file: Path, start: int, size: int, record_bytes: int, stated: int | None
) -> tuple[int, int]:
    """Return the complete data records from byte `start` to `size`, and the bytes after them.

    Zeros after the records that the header states are padding, not records.
    """
    if not record_bytes:
        return max(stated or 0, 0), size - start
    records, padding = divmod(size - start, record_bytes)
    if stated and 0 < stated < records:
        end = start + stated * record_bytes
        with open(file, "rb") as opened:
            opened.seek(end)
            if not any(any(part) for part in iter(lambda: opened.read(1 << 20), b"")):
                return stated, size - end
    return records, padding


def _decode(field: bytes) -> str:
    """Decode a field, which is UTF-8 or else Latin-1, without padding."""
    try:
        text = field.decode()
    except UnicodeDecodeError:
        text = field.decode("latin-1")
    return text.strip(" \0\t\r\n")


def _parse_number(text: str) -> float:
    number = float(text.replace(",", "."))
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number")
    return number


def _parse_field(file: Path, meaning: str, field: bytes, whole: bool = True) -> float:
    """Parse a number that is at least 0."""
    text = _decode(field)
    try:
        number = _parse_number(text)
        if not 0 <= number <= MAX_FIELD or (whole and number != int(number)):
            raise ValueError
    except ValueError:
        raise DataError(
            f'{file} is not an EDF file: its {meaning} is "{shorten(text)}" in the header'
        ) from None
    return number


def _parse_date(text: str) -> tuple[int, int, int] | None:
    """Return year, month and day of dd.mm.yy, with any separator."""
    if not (parts := re.fullmatch(r"(\d{1,2})\D(\d{1,2})\D(\d\d)", text)):
        return None
    day, month, year = map(int, parts.groups())
    return year + (1900 if year >= 85 else 2000), month, day


def _parse_time(text: str) -> int | None:
    """Return the seconds from midnight of hh.mm.ss, with any separator."""
    if not (parts := re.fullmatch(r"(\d{1,2})\D(\d{1,2})\D(\d{1,2})", text)):
        return None
    hours, minutes, seconds = map(int, parts.groups())
    return 3600 * hours + 60 * minutes + seconds if hours < 24 and minutes < 60 and seconds < 60 else None


def _combine(date: tuple[int, int, int] | None, time_of_day: int | None) -> datetime | None:
    if date is None or time_of_day is None:
        return None
    try:
        return datetime(*date, time_of_day // 3600, time_of_day // 60 % 60, time_of_day % 60)
    except ValueError:
        return None
