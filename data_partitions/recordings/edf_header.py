"""The header of an EDF file (Kemp et al., Electroencephalography and Clinical Neurophysiology 82:391, 1992).

Unlike mne, it gives the rate of each channel, the position of its samples, and the expected length of the
file.
"""

from pathlib import Path
from typing import NamedTuple

from data_partitions.errors import DataError


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
        low, high = map(int, self.digital_range)
        bottom, top = map(float, self.physical_range)
        if high <= low or top == bottom:
            raise ValueError(f"{self.name} has no range")
        gain = (top - bottom) / (high - low)
        return EdfScale(low, high, gain, bottom - gain * low)


class EdfHeader(NamedTuple):
    """The header of a file."""

    start: int  # time of day, in s
    reserved: str  # "EDF+C" or "EDF+D" in EDF+ files
    bytes: int  # length of the header
    records: int  # number of data records
    record_seconds: float  # length of a data record
    channels: tuple[EdfChannel, ...]

    @property
    def record_samples(self) -> int:
        """Samples of all channels in a data record."""
        return sum(channel.samples for channel in self.channels)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.records * self.record_seconds

    def rate(self, channel: EdfChannel) -> float:
        """Return the samples per second of a channel; 0 if data records have no length."""
        return channel.samples / self.record_seconds if self.record_seconds else 0.0


def read_edf_header(file: Path) -> EdfHeader:
    """Read a header; DataError when the file cannot be read or is not as long as its header says."""
    try:
        with open(file, "rb") as opened:
            fixed = opened.read(256).decode("latin-1")
            count = int(fixed[252:])
            table = opened.read(256 * count).decode("latin-1")
        hours, minutes, seconds = map(int, fixed[176:184].split("."))
        records, record_seconds = int(fixed[236:244]), float(fixed[244:252])

        def column(start: int, width: int) -> list[str]:
            cells = range(start * count, (start + width) * count, width)
            return [table[i : i + width].strip() for i in cells]

        names, units = column(0, 16), column(96, 8)
        physical = list(zip(column(104, 8), column(112, 8), strict=True))
        digital = list(zip(column(120, 8), column(128, 8), strict=True))
        samples = [int(n) for n in column(216, 8)]
    except ValueError:
        raise DataError(f"{file} is not an EDF file: remove it and fetch it again") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    size = file.stat().st_size
    expected_size = 256 * (count + 1) + 2 * records * sum(samples)
    if size != expected_size:
        raise DataError(
            f"{file} has {size} bytes, {expected_size} by its header: remove it and fetch it again"
        )
    starts = [sum(samples[:i]) for i in range(count)]
    channels = map(EdfChannel, names, units, physical, digital, starts, samples)
    start = 3600 * hours + 60 * minutes + seconds
    return EdfHeader(start, fixed[192:236], 256 * (count + 1), records, record_seconds, tuple(channels))
