"""The signal file of a WFDB record: frames of samples, each with those of all signals of the file."""

from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.blocks import BLOCK_NUMBERS, BlockReader
from data_partitions.recordings.wfdb_header import WfdbSignal
from data_partitions.recordings.wfdb_samples import SAMPLE_FORMATS, SampleFormat
from data_partitions.recordings.wfdb_streams import FLAC_BITS, DifferenceFile, FlacFile
from data_partitions.sentences import shorten

DIFFERENCES = "8"
# Blocks of that many frames start at a byte in all formats.
_WHOLE_BLOCK_FRAMES = 6


class SignalFile:
    """Reads the frames of a file of signals, in the order of the header; DataError if unreadable.

    A frame has `width` samples; those of each signal begin at `starts`. `missing` is the digital value of a
    missing sample, None where the format has none.
    """

    def __init__(self, header: Path, signals: list[WfdbSignal], frames: int) -> None:
        first = signals[0]
        if Path(first.file).name != first.file:
            raise DataError(
                f"{header} names the file {shorten(first.file, 60)}: expected a name without folders"
            )
        self.file = header.with_name(first.file)
        if any((s.format, s.offset) != (first.format, first.offset) for s in signals):
            raise DataError(f"{header} gives {shorten(first.file)} two formats")
        counts = [signal.frame_samples for signal in signals]
        self.width = sum(counts)
        self.starts = [sum(counts[:i]) for i in range(len(counts))]
        self.offset = first.offset
        self.format: SampleFormat | None = SAMPLE_FORMATS.get(first.format)
        if min(counts) < 1:
            raise DataError(f"{header} has a signal without samples in {shorten(first.file)}")
        self.missing: int | None = None
        try:
            size = self.file.stat().st_size - self.offset
            if self.format:
                load, self.missing = self._load, self.format.missing
                self.frames = self.format.samples_of(max(size, 0)) // self.width
            elif first.format == DIFFERENCES:
                load = DifferenceFile(self.file, self.offset, counts, [s.initial for s in signals]).load
                self.frames = max(size, 0) // self.width
            elif first.format in FLAC_BITS:
                flac = FlacFile(self.file, first.format, self.offset, counts)
                load, self.frames = flac.load, flac.frames
                self.missing = -(1 << (FLAC_BITS[first.format] - 1))
            else:
                raise DataError(
                    f"{header}: {shorten(first.file)} is in format {shorten(first.format)}, which is unknown"
                )
        except (OSError, ValueError, RuntimeError) as error:  # soundfile raises RuntimeErrors
            if isinstance(error, DataError):
                raise
            reason = getattr(error, "strerror", None) or shorten(error, 100)
            renamed = header.with_suffix(self.file.suffix)
            if renamed != self.file and renamed.exists() and not self.file.exists():
                reason = f"there is none; if {renamed.name} is meant, correct its name in the header"
            raise DataError(
                f"{self.file} cannot be read ({reason}), which is named in {header.name}"
            ) from None
        if self.frames < max(frames, 1):
            raise DataError(
                f"{self.file} ends after {self.frames} of the {max(frames, 1)} samples a signal that "
                f"{header.name} states: fetch it again"
            )
        block = max(1, BLOCK_NUMBERS // self.width // _WHOLE_BLOCK_FRAMES) * _WHOLE_BLOCK_FRAMES
        self.columns = [slice(start, start + count) for start, count in zip(self.starts, counts, strict=True)]
        self._gains = np.repeat([signal.gain for signal in signals], counts)
        self._baselines = np.repeat([float(signal.baseline) for signal in signals], counts)
        self._digital = BlockReader(load, frames or self.frames, block)
        self._physical = BlockReader(self._load_physical, frames or self.frames, block)

    def read_digital(self, signal: int, first: int, last: int) -> np.ndarray:
        """Return the digital samples of the signal at a position, of frames `first` to `last`."""
        return self._digital.read(first, last, self.columns[signal])

    def read_physical(self, signal: int, first: int, last: int) -> np.ndarray:
        """Return samples in the signal's unit as float64, NaN where they are missing."""
        return self._physical.read(first, last, self.columns[signal])

    def _load_physical(self, first: int, last: int) -> np.ndarray:
        digital = self._digital.load(first, last)
        physical = (digital - self._baselines) / self._gains
        if self.missing is not None:
            physical[digital == self.missing] = np.nan
        return physical

    def _load(self, first: int, last: int) -> np.ndarray:
        assert self.format
        count = (last - first) * self.width
        start = self.format.bytes_of(first * self.width)  # whole blocks, as frames are read in blocks
        with open(self.file, "rb") as opened:
            opened.seek(self.offset + start)
            content = np.frombuffer(opened.read(self.format.bytes_of(count)), np.uint8)
        return self.format.decode(content, count).reshape(-1, self.width)
