"""Recordings whose channels are arrays in memory."""

from pathlib import Path

import numpy as np

from data_partitions.recordings import Channel


class ArrayRecording:
    """Channels `(name, unit, rate, samples)`, read as those of a file are."""

    def __init__(self, *channels: tuple[str, str, float, np.ndarray], file: str = "night.edf") -> None:
        self.file = Path(file)
        self.files = [self.file]
        self.start = None
        self.notes = ()
        self.arrays = [np.asarray(samples, np.float64) for *_, samples in channels]
        self.channels = tuple(
            Channel(name, unit, rate, len(samples)) for name, unit, rate, samples in channels
        )

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        return read_array(self.arrays[channel], first, last)


def read_array(samples: np.ndarray, first: int, last: int) -> np.ndarray:
    """Read samples `[first, last)`; NaN beyond the ends."""
    out = np.full(last - first, np.nan)
    low, high = max(first, 0), min(last, len(samples))
    if low < high:
        out[low - first : high - first] = samples[low:high]
    return out
