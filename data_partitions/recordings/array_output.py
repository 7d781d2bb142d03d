"""Copies of npy and npz files in which missing samples are filled."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.blocks import BLOCK_NUMBERS

if TYPE_CHECKING:
    from data_partitions.recordings.array_recording import ArrayRecording


class ArrayOutput:
    """A copy of a file with one recording. The archive of an npz file is written when it is closed."""

    def __init__(self, recording: ArrayRecording, folder: Path) -> None:
        if "record" in recording.axes:
            raise DataError(
                f"{recording.file} has several recordings, which can be read but not completed: save each as "
                "a file of its own"
            )
        self.recording = recording
        self.copy = folder / recording.file.name
        self.npy = self.copy
        if recording.array.member:
            self.npy = folder / f".{recording.file.name}.npy"
        shutil.copyfile(recording.array.npy, self.npy)

    def fill(self, channel: int, first: int, samples: np.ndarray) -> None:
        """Write samples where the recording has none; see `Output`."""
        recording = self.recording
        low, high = max(first, 0), min(first + len(samples), recording.channels[channel].samples)
        for start in range(low, high, BLOCK_NUMBERS):
            end = min(start + BLOCK_NUMBERS, high)
            values = samples[start - first : end - first]
            numbers = recording.reader.read(start, end, slice(channel, channel + 1))
            at = np.flatnonzero(recording.is_missing(numbers) & np.isfinite(values))
            if len(at):
                array = np.load(self.npy, mmap_mode="r+", allow_pickle=False)
                recording.select(array, start, end)[at, channel] = self._to_numbers(values[at])

    def _to_numbers(self, values: np.ndarray) -> np.ndarray:
        """Return the nearest numbers of the array's type that do not stand for a missing sample."""
        recording, dtype = self.recording, self.recording.array.dtype
        limits: Any
        if dtype.kind == "f":
            limits, rounded = np.finfo(dtype), values.astype(np.float64)
        else:
            limits, rounded = np.iinfo(dtype if dtype.kind in "iu" else np.uint8), np.round(values)
        rounded = np.clip(rounded, limits.min, limits.max)
        numbers = rounded.astype(dtype)
        unit = np.abs(np.spacing(numbers)).astype(np.float64) if dtype.kind == "f" else 1.0
        nearer = np.where(values < rounded, -1, 1)
        for distance in range(1, len(recording.codes) + 1):
            for side in (nearer, -nearer):
                moved = np.clip(rounded + distance * side * unit, limits.min, limits.max).astype(dtype)
                numbers = np.where(recording.is_missing(numbers), moved, numbers)
        return numbers

    def close(self) -> None:
        """Write the archive of an npz file: other arrays as they are."""
        member = self.recording.array.member
        if not member:
            return
        with (
            zipfile.ZipFile(self.recording.file) as source,
            zipfile.ZipFile(self.copy, "w") as copy,
        ):
            for entry in source.infolist():
                target = zipfile.ZipInfo(entry.filename, entry.date_time)
                target.compress_type, target.external_attr = entry.compress_type, entry.external_attr
                content = open(self.npy, "rb") if entry.filename == member else source.open(entry)
                with content, copy.open(target, "w", force_zip64=True) as written:
                    shutil.copyfileobj(content, written, 1 << 20)
        self.npy.unlink()
