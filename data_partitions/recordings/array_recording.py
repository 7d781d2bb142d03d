"""Arrays of samples in npy and npz files. NaN and infinite values are missing samples."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.array_file import ArrayFile, read_texts, refuse_damage
from data_partitions.recordings.array_output import ArrayOutput
from data_partitions.recordings.blocks import BLOCK_NUMBERS, BlockReader
from data_partitions.recordings.recording import Channel, Output, Recording
from data_partitions.sentences import shorten

SUFFIXES = (".npy", ".npz")
MAX_CHANNELS = 10_000  # as in an EDF file
TIME, CHANNEL, RECORD = "time", "channel", "record"


class ArrayRecording:
    """An array, or the recording at a position on its axis of them; `codes` stand for missing samples."""

    def __init__(
        self,
        array: ArrayFile,
        axes: Sequence[str],
        position: int,
        channels: tuple[Channel, ...],
        codes: Sequence[float],
        notes: tuple[str, ...],
    ) -> None:
        self.array = array
        self.file = array.file
        self.files = [array.file]
        self.axes = list(axes)
        self.position = position
        self.channels = channels
        self.codes = codes
        self.start: datetime | None = None
        self.notes = notes
        rows = max(1, BLOCK_NUMBERS // len(channels))
        self.reader = BlockReader(self.load, channels[0].samples, rows)

    def load(self, first: int, last: int) -> np.ndarray:
        """Return samples as they are in the file, `(time, channel)`."""
        with refuse_damage(self.file):
            return np.array(self.select(self.array.opened(), first, last))

    def select(self, array: np.ndarray, first: int, last: int) -> np.ndarray:
        """Return a view of samples `first` to `last` of the recording in an array, `(time, channel)`."""
        index: dict[str, Any] = {TIME: slice(first, last), CHANNEL: slice(None), RECORD: self.position}
        part = array[tuple(index[axis] for axis in self.axes)]
        remaining = [axis for axis in self.axes if axis != RECORD]
        if CHANNEL not in remaining:
            return part[:, None]
        return part if remaining == [TIME, CHANNEL] else part.T

    def is_missing(self, numbers: np.ndarray) -> np.ndarray:
        """Return which numbers of the file stand for no sample."""
        return ~np.isfinite(numbers) | np.isin(numbers, self.codes)

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples; see `Recording`."""
        numbers = self.reader.read_around(first, last, slice(channel, channel + 1))
        return np.where(self.is_missing(numbers), np.nan, numbers)


def open(  # noqa: A001
    file: Path,
    *,
    rate: float | None = None,
    axes: str = "time channel",
    values: str = "",
    records: str = "",
    names: str = "",
    channel_names: Sequence[str] = (),
    missing: Sequence[str] = (),
    record: str = "",
    **_: Any,
) -> Recording:
    """Open a file, or a recording in it, by default the first; DataError when it cannot be read.

    Options are as in `FilesSection`. Of `missing`, numbers count.
    """
    if rate is None:
        raise DataError(f"{file} does not state the rate of its samples: give rate (Hz) in the description")
    array = ArrayFile(file, values)
    length_of = _name_axes(array, axes)
    position = 0
    notes: tuple[str, ...] = ()
    if RECORD in length_of:
        ids = _list_ids(array, records, length_of[RECORD])
        if record and record not in ids:
            raise DataError(
                f"{file} has no recording {shorten(record)}: it has {shorten(', '.join(ids), 80)}"
            )
        position = ids.index(record) if record else 0
        if not record and len(ids) > 1:
            notes = (f"This is the first of {len(ids)} recordings in the file.",)
    count, samples = length_of.get(CHANNEL, 1), length_of[TIME]
    if not count or not samples:
        raise DataError(f"{file} has no samples")
    if count > MAX_CHANNELS:
        raise DataError(
            f"{file} has {count} channels by its axes {shorten(axes, 60)}, expected at most {MAX_CHANNELS}: "
            "give its axes in the description"
        )
    titles = read_texts(file, names) if names else list(channel_names)
    titles = titles or [f"channel {i + 1}" for i in range(count)]
    if len(titles) != count:
        raise DataError(f"{file} has {count} channels, but {len(titles)} names of channels are given")
    channels = tuple(Channel(title, "", rate, samples) for title in titles)
    return ArrayRecording(array, axes.split(), position, channels, _numbers_among(missing), notes)


def list_records(file: Path, *, axes: str = "", values: str = "", records: str = "", **_: Any) -> list[str]:
    """List the names of the recordings in a file: their ids, or their positions; [""] for a single one.

    Raises
    ------
    DataError
        The file cannot be read, or its ids are not one for each recording.
    """
    if RECORD not in axes.split():
        return [""]
    array = ArrayFile(file, values)
    return _list_ids(array, records, _name_axes(array, axes)[RECORD])


def create_output(recording: ArrayRecording, folder: Path) -> Output:
    """Copy a file to a folder; DataError when it has several recordings."""
    return ArrayOutput(recording, folder)


def _name_axes(array: ArrayFile, axes: str) -> dict[str, int]:
    words = axes.split()
    if (
        len(words) != len(array.shape)
        or len(set(words)) < len(words)
        or TIME not in words
        or not {TIME, CHANNEL, RECORD}.issuperset(words)
    ):
        raise DataError(
            f"{array.file} has an array of shape {array.shape}, which does not have the axes "
            f"{shorten(axes, 60)}: give its axes in the description"
        )
    return dict(zip(words, array.shape, strict=True))


def _list_ids(array: ArrayFile, records: str, count: int) -> list[str]:
    if not records:
        return [str(position) for position in range(count)]
    ids = read_texts(array.file, records)
    if len(ids) != count or len(set(ids)) < count:
        raise DataError(f"{array.file} has {count} recordings, but {len(set(ids))} ids in {shorten(records)}")
    return ids


def _numbers_among(texts: Sequence[str]) -> list[float]:
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return numbers
