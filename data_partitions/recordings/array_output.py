"""Copies of npy and npz files in which missing samples are filled."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

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
        recording, dtype = self.recording, self.recording.array.dtype
        low, high = max(first, 0), min(first + len(samples), recording.channels[channel].samples)
        for start in range(low, high, BLOCK_NUMBERS):
            end = min(start + BLOCK_NUMBERS, high)
            values = samples[start - first : end - first]
            numbers = recording.reader.read(start, end, slice(channel, channel + 1))
            at = np.flatnonzero(recording.is_missing(numbers) & np.isfinite(values))
            if len(at):
                array = np.load(self.npy, mmap_mode="r+", allow_pickle=False)
                filled = values[at]
                if dtype.kind != "f":
                    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.iinfo(np.uint8)
                    filled = np.clip(np.round(filled), limits.min, limits.max)
                recording.select(array, start, end)[at, channel] = filled.astype(dtype)

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
