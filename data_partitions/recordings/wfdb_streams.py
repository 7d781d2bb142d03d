"""Signal files whose samples have no fixed place: differences (format 8) and FLAC (508, 516, 524)."""

from pathlib import Path
from typing import Any

import numpy as np

FLAC_BITS = {"508": 8, "516": 16, "524": 24}
_STREAM_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}


class DifferenceFile:
    """Samples of format 8: each byte is the difference to the sample before.

    The sums up to the start of each block are held, so that a block is read without those before it.
    """

    def __init__(self, file: Path, offset: int, frame_samples: list[int], initial: list[int]) -> None:
        self.file = file
        self.offset = offset
        self.frame_samples = frame_samples
        self.ends = {0: np.array(initial, np.int64)}  # last sample of each signal before a frame

    def load(self, first: int, last: int) -> np.ndarray:
        """Return frames as `(frame, sample)`; frames are read in blocks, of which `first` starts one."""
        if first not in self.ends:
            known = max(frame for frame in self.ends if frame < first)
            step = last - first
            for frame in range(known, first, step):
                self.load(frame, min(frame + step, first))
        width = sum(self.frame_samples)
        with open(self.file, "rb") as opened:
            opened.seek(self.offset + first * width)
            differences = np.frombuffer(opened.read((last - first) * width), np.int8).reshape(-1, width)
        samples = np.empty(differences.shape, np.int32)
        ends, start = np.zeros(len(self.frame_samples), np.int64), 0
        for signal, count in enumerate(self.frame_samples):
            columns = slice(start, start + count)
            sums = np.cumsum(differences[:, columns].reshape(-1), dtype=np.int64) + self.ends[first][signal]
            samples[:, columns] = sums.reshape(-1, count)
            ends[signal], start = sums[-1], start + count
        self.ends[last] = ends
        return samples


class FlacFile:
    """Samples of formats 508, 516 and 524, compressed as FLAC."""

    def __init__(self, file: Path, form: str, offset: int, frame_samples: list[int]) -> None:
        if len(set(frame_samples)) > 1:
            raise ValueError("its signals have different numbers of samples in a frame")
        self.file = file
        self.offset = offset
        self.frame_samples = frame_samples[0]
        with self._opened() as flac:
            self.bits = _STREAM_BITS.get(flac.subtype, 32)
            if flac.channels != len(frame_samples):
                raise ValueError(f"its number of channels is {flac.channels}, not {len(frame_samples)}")
            if self.bits > FLAC_BITS[form]:
                raise ValueError(f"it has samples of {self.bits} bits")
            self.frames = (flac.frames - offset) // self.frame_samples

    def load(self, first: int, last: int) -> np.ndarray:
        """Return frames as `(frame, sample)`."""
        with self._opened() as flac:
            flac.seek(self.offset + first * self.frame_samples)
            samples = flac.read((last - first) * self.frame_samples, dtype="int32", always_2d=True)
        channels = samples.shape[1]
        # soundfile scales to 32 bits.
        frames = (samples >> (32 - self.bits)).reshape(-1, self.frame_samples, channels)
        return frames.transpose(0, 2, 1).reshape(len(frames), -1)

    def _opened(self) -> Any:
        import soundfile  # comes with wfdb

        with open(self.file, "rb") as opened:
            if opened.read(4) != b"fLaC":
                raise ValueError("it is not a FLAC file")
        return soundfile.SoundFile(self.file)
