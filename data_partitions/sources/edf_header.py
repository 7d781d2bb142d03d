"""The header of an EDF file (Kemp et al., Electroencephalography and Clinical Neurophysiology 82:391, 1992):
what mne does not tell, which is the rate of each channel and how long the file ought to be.
"""

from pathlib import Path

from data_partitions.errors import DataError


def read_header(file: Path) -> tuple[int, float, dict[str, tuple[float, str]]]:
    """Start (s of the day), length (s), and channel -> (Hz, unit).

    Raises DataError when the file cannot be read or is not as long as its header says.
    """
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

        labels, units, samples = column(0, 16), column(96, 8), [int(n) for n in column(216, 8)]
    except ValueError:
        raise DataError(f"{file} is not an EDF file: remove it and fetch it again") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    size, said = file.stat().st_size, 256 * (count + 1) + 2 * records * sum(samples)
    if size != said:
        raise DataError(f"{file} has {size} bytes, {said} by its header: remove it and fetch it again")
    rates = [n / record_seconds if record_seconds else 0.0 for n in samples]
    channels = dict(zip(labels, zip(rates, units, strict=True), strict=True))
    return 3600 * hours + 60 * minutes + seconds, records * record_seconds, channels
