"""The header of an EDF file (Kemp et al., Electroencephalography and Clinical Neurophysiology 82:391, 1992):
what mne does not tell, which is the rate of each channel, where its samples are, and how long the file ought
to be.
"""

from pathlib import Path
from typing import NamedTuple

from data_partitions.errors import DataError


class Channel(NamedTuple):
    """One signal. Its ranges are as the file has them, as few readers need them."""

    name: str
    unit: str
    physical_range: tuple[str, str]
    digital_range: tuple[str, str]
    start: int  # place of its samples in a data record
    samples: int  # of it in a data record

    def scale(self) -> tuple[tuple[int, int], float, float]:
        """Digital range, gain and offset: a physical value, in `unit`, is offset + gain × digital.

        Raises ValueError when the ranges are none.
        """
        low, high = map(int, self.digital_range)
        bottom, top = map(float, self.physical_range)
        if high <= low or top == bottom:
            raise ValueError(f"{self.name} has no range")
        gain = (top - bottom) / (high - low)
        return (low, high), gain, bottom - gain * low


class EdfHeader(NamedTuple):
    start: int  # s of the day
    reserved: str  # "EDF+C" or "EDF+D" in EDF+ files
    bytes: int  # of the header
    records: int
    record_seconds: float
    channels: tuple[Channel, ...]

    @property
    def record_samples(self) -> int:
        return sum(channel.samples for channel in self.channels)


def read_edf_header(file: Path) -> EdfHeader:
    """Raises DataError when the file cannot be read or is not as long as its header says."""
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
    size, said = file.stat().st_size, 256 * (count + 1) + 2 * records * sum(samples)
    if size != said:
        raise DataError(f"{file} has {size} bytes, {said} by its header: remove it and fetch it again")
    starts = [sum(samples[:i]) for i in range(count)]
    channels = map(Channel, names, units, physical, digital, starts, samples)
    start = 3600 * hours + 60 * minutes + seconds
    return EdfHeader(start, fixed[192:236], 256 * (count + 1), records, record_seconds, tuple(channels))


def read_header(file: Path) -> tuple[int, float, dict[str, tuple[float, str]]]:
    """Start (s of the day), length (s), and channel -> (Hz, unit); DataError as `read_edf_header`."""
    header = read_edf_header(file)
    seconds = header.record_seconds
    rates = {c.name: (c.samples / seconds if seconds else 0.0, c.unit) for c in header.channels}
    return header.start, header.records * seconds, rates
