"""A recording of any format, read a stretch at a time, and its copy that is completed."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class Channel(NamedTuple):
    """One channel of a recording."""

    name: str  # name in the file; names may repeat
    unit: str  # unit of the samples; "" where the file states none
    rate: float  # samples per second (Hz)
    samples: int  # length from the start of the recording to its end, in samples, with the gaps in between


class Recording(Protocol):
    """The channels of a file. Samples are read when they are asked for, and not held.

    Parameters
    ----------
    file
        The file that was opened.
    files
        All files that the recording consists of, such as a WFDB header and its files of samples.
    channels
        Its channels, in the order of the file, without annotations and without channels that have no samples.
    start
        Date and time of the first sample; None if the file states none that can be read.
    notes
        Sentences on what is unusual in the file and was read nevertheless.
    """

    file: Path
    files: list[Path]
    channels: tuple[Channel, ...]
    start: datetime | None
    notes: tuple[str, ...]

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples `first` to `last` of a channel.

        Returns
        -------
        np.ndarray
            float64 `(last - first,)` in the channel's unit; NaN where nothing was measured, in gaps, and
            before the start and after the end of the channel.

        Raises
        ------
        DataError
            The file cannot be read any more.
        """
        ...


class Output(Protocol):
    """A copy of a recording, in which missing samples are filled; nothing else of it changes."""

    def fill(self, channel: int, first: int, samples: np.ndarray) -> None:
        """Write samples of a channel, from sample `first` on, where the recording has none.

        Measured samples stay, as do those for which `samples` has NaN and those that have no place in the
        file, such as in gaps between segments. Values are rounded to the resolution of the file and clipped
        to its range.
        """
        ...

    def close(self) -> None:
        """Finish the files."""
        ...
