"""Copies of EDF and BDF files in which missing samples are filled.

Missing are the samples at the ends of the digital range, if they were opened as such; otherwise the copy is
equal to the file.
"""

import shutil
from pathlib import Path

import numpy as np

from data_partitions.recordings.blocks import BLOCK_NUMBERS
from data_partitions.recordings.edf_signals import EdfRecording


class EdfOutput:
    """A copy of a file."""

    def __init__(self, recording: EdfRecording, folder: Path) -> None:
        self.recording = recording
        self.copy = folder / recording.file.name
        shutil.copyfile(recording.file, self.copy)

    def fill(self, channel: int, first: int, samples: np.ndarray) -> None:
        """Write samples where the recording has none; see `Output`."""
        if not self.recording.ends_missing:
            return
        for at, start, count in self.recording.stretches(channel, first, first + len(samples)):
            for position in range(0, count, BLOCK_NUMBERS):
                length = min(BLOCK_NUMBERS, count - position)
                self._fill_block(channel, start + position, samples[at - first + position :][:length])

    def _fill_block(self, channel: int, start: int, samples: np.ndarray) -> None:
        header, (part, scale) = self.recording.header, self.recording.signals[channel]
        digital = self.recording.read_digital(channel, start, len(samples))
        at = np.flatnonzero(self.recording.is_at_end(channel, digital) & np.isfinite(samples))
        if not len(at):
            return
        # The ends of the range would mean that the sample is missing.
        highest = (1 << (8 * header.sample_bytes - 1)) - 1
        low, high = max(scale.low + 1, -highest), min(scale.high - 1, highest)
        values = np.round((samples[at] - scale.offset) / scale.gain)
        values = np.clip(values, low, high).astype("<i4")
        records, rest = np.divmod(start + at, part.samples)
        positions = records * header.record_samples + part.start + rest
        base = int(positions[0])
        content_bytes = (int(positions[-1]) + 1 - base) * header.sample_bytes
        with open(self.copy, "r+b") as opened:
            offset = header.bytes + base * header.sample_bytes
            opened.seek(offset)
            content = np.frombuffer(opened.read(content_bytes), np.uint8).copy()
            rows = values.view(np.uint8).reshape(-1, 4)[:, : header.sample_bytes]
            content.reshape(-1, header.sample_bytes)[positions - base] = rows
            opened.seek(offset)
            opened.write(content.tobytes())

    def close(self) -> None:
        """Do nothing, as the file is complete after each change."""
