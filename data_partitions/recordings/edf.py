"""EDF files. Writing changes single samples of a copy, so that all other bytes remain the same.

EDF has no value for a missing sample. Values at the ends of a channel's digital range, where amplifiers leave
a channel that is off or saturated, count as not observed.
"""

from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.edf_header import EdfChannel, EdfHeader, read_edf_header
from data_partitions.recordings.whole_recording import Recording, Signal

SUFFIX = ".edf"
ANNOTATIONS = "EDF Annotations"


def read(file: Path) -> Recording:
    """Read all channels but annotations; DataError when the file is damaged or has gaps in time."""
    header = read_edf_header(file)
    if header.reserved.startswith("EDF+D"):
        raise DataError(f"{file} is an EDF+D file, whose data records are apart in time: split it first")
    if header.records < 1 or header.record_seconds <= 0:
        raise DataError(f"{file} has no samples")
    raw = np.memmap(file, "<i2", "r", header.bytes, (header.records, header.record_samples))
    signals = []
    for channel in _signal_channels(header):
        try:
            scale = channel.scale()
        except ValueError:
            raise DataError(f"{file}: {channel.name} has no usable range of numbers in the header") from None
        digital = np.asarray(raw[:, channel.start : channel.start + channel.samples]).reshape(-1)
        missing = (digital <= scale.low) | (digital >= scale.high)
        samples = np.where(missing, np.nan, scale.offset + scale.gain * digital)
        signals.append(Signal(channel.name, channel.unit, header.rate(channel), samples))
    return Recording(file, tuple(signals), header)


def files(recording: Recording) -> list[Path]:
    """Return the one file."""
    return [recording.file]


def write(recording: Recording, signals: list[np.ndarray], folder: Path) -> None:
    """Write a copy with missing samples filled, as exactly as the file's resolution and range allow."""
    header: EdfHeader = recording.source
    content = bytearray(recording.file.read_bytes())
    raw = np.frombuffer(content, "<i2", offset=header.bytes).reshape(header.records, -1)
    for channel, signal, samples in zip(_signal_channels(header), recording.signals, signals, strict=True):
        scale = channel.scale()
        digital = np.round((samples - scale.offset) / scale.gain)
        # The ends of the range would mean that nothing was observed.
        digital = np.clip(np.nan_to_num(digital), scale.low + 1, scale.high - 1).astype("<i2")
        part = raw[:, channel.start : channel.start + channel.samples]
        filled = np.isnan(signal.samples) & ~np.isnan(samples)
        part[:] = np.where(filled.reshape(part.shape), digital.reshape(part.shape), part)
    (folder / recording.file.name).write_bytes(content)


def _signal_channels(header: EdfHeader) -> list[EdfChannel]:
    return [channel for channel in header.channels if channel.name != ANNOTATIONS]
