"""WFDB records of one segment (WFDB Applications Guide, header(5) and signal(5))."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.recording import Channel
from data_partitions.recordings.wfdb_header import NO_FILE, WfdbHeader, WfdbSignal
from data_partitions.recordings.wfdb_signal_file import SignalFile
from data_partitions.sentences import shorten


class WfdbRecord:
    """A record of one segment. Signals are shifted by the skew that the header states.

    DataError when a signal file is absent, too short, or in an unknown format.
    """

    def __init__(self, file: Path, header: WfdbHeader) -> None:
        self.file = file
        self.header = header
        self.start = header.start
        members: dict[str, list[int]] = {}
        for i, signal in enumerate(header.signals):
            if signal.file != NO_FILE:
                members.setdefault(signal.file, []).append(i)
        self.signal_files: list[SignalFile] = []
        # Of each signal its file, and its position among the signals of the file.
        self.places: dict[int, tuple[SignalFile, int]] = {}
        for positions in members.values():
            signal_file = SignalFile(file, [header.signals[i] for i in positions], header.samples)
            self.signal_files.append(signal_file)
            self.places.update({i: (signal_file, place) for place, i in enumerate(positions)})
        lengths = [signal_file.frames for signal_file in self.signal_files]
        self.frames = (header.samples or min(lengths)) if lengths else 0
        if not self.frames:
            raise DataError(f"{file} has no samples")
        self.files = [file, *(signal_file.file for signal_file in self.signal_files)]
        self.channels = make_channels(header.signals, header.rate, self.frames)
        self.notes = tuple(_unusual(header))

    def stretch(self, channel: int, first: int, last: int) -> tuple[int, int]:
        """Return the first and last of samples `first` to `last`, counted as they are in the file."""
        signal = self.header.signals[channel]
        shift = signal.skew * signal.frame_samples
        end = self.frames * signal.frame_samples
        start = min(max(first, 0) + shift, end)
        return start, max(start, min(last + shift, end))

    def read_digital(self, channel: int, start: int, end: int) -> np.ndarray:
        """Return samples of a signal as they are in the file; see `stretch`."""
        signal_file, place = self.places[channel]
        count = self.header.signals[channel].frame_samples
        frame = start // count
        digital = signal_file.read_digital(place, frame, -(-end // count))
        return digital[start - frame * count : end - frame * count]

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples; see `Recording`."""
        start, end = self.stretch(channel, first, last)
        if channel not in self.places or start == end:
            return np.full(last - first, np.nan)
        signal_file, place = self.places[channel]
        count = self.header.signals[channel].frame_samples
        frame = start // count
        try:
            physical = signal_file.read_physical(place, frame, -(-end // count))
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"{signal_file.file} cannot be read ({error})") from None
        physical = physical[start - frame * count : end - frame * count]
        if len(physical) == last - first:
            return physical.copy()
        samples = np.full(last - first, np.nan)
        at = max(first, 0) - first
        samples[at : at + len(physical)] = physical
        return samples


def make_channels(signals: Sequence[WfdbSignal], rate: float, frames: int) -> tuple[Channel, ...]:
    """Return the channels of a record of `frames` frames at `rate` Hz."""
    return tuple(
        Channel(
            signal.name or f"signal {i}",
            signal.unit,
            rate * signal.frame_samples,
            frames * signal.frame_samples,
        )
        for i, signal in enumerate(signals)
    )


def _unusual(header: WfdbHeader) -> list[str]:
    """Return sentences on what is unusual in a header."""
    signals = [(shorten(signal.name) or f"signal {i}", signal) for i, signal in enumerate(header.signals)]
    notes = []
    if header.start_text and not header.start:
        notes.append("The header states no readable date and time of the start.")
    if unnamed := [name for name, signal in signals if not signal.name]:
        notes.append(f"Signals without a description are called {unnamed[0]} and so on.")
    if late := [name for name, signal in signals if signal.skew]:
        notes.append(f"Samples of {', '.join(late)} are shifted by the skew that the header states.")
    if uncalibrated := [name for name, signal in signals if not signal.calibrated]:
        notes.append(f"The header states no gain of {', '.join(uncalibrated)}, which means 200.")
    return notes
