"""EDF files, written by changing single samples of a copy, so that all else stays as it is, byte by byte.

EDF has no sign for a sample that is missing. What stands at the end of a channel's digital range, where
amplifiers leave a channel that is off or saturated, counts as not observed.
"""

from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.edf_header import Channel, EdfHeader, read_edf_header
from data_partitions.recordings.recording import Recording, Signal

SUFFIX = ".edf"
ANNOTATIONS = "EDF Annotations"


def read(file: Path) -> Recording:
    """All channels but annotations. Raises DataError when the file is damaged or has gaps in time."""
    header = read_edf_header(file)
    if header.reserved.startswith("EDF+D"):
        raise DataError(f"{file} is an EDF+D file, whose records are apart in time: split it first")
    if header.records < 1 or header.record_seconds <= 0:
        raise DataError(f"{file} holds no samples")
    raw = np.memmap(file, "<i2", "r", header.bytes, (header.records, header.record_samples))
    signals = []
    for channel in _channels(header):
        try:
            (low, high), gain, offset = channel.scale()
        except ValueError:
            raise DataError(f"{file}: {channel.name} has no usable range of numbers in the header") from None
        digital = np.asarray(raw[:, channel.start : channel.start + channel.samples]).reshape(-1)
        lacks = (digital <= low) | (digital >= high)
        samples = np.where(lacks, np.nan, offset + gain * digital)
        rate = channel.samples / header.record_seconds
        signals.append(Signal(channel.name, channel.unit, rate, samples))
    return Recording(file, tuple(signals), header)


def files(recording: Recording) -> list[Path]:
    return [recording.file]


def write(recording: Recording, signals: list[np.ndarray], folder: Path) -> None:
    """A copy with the samples that were not observed, as near as the file's resolution and range allow."""
    header: EdfHeader = recording.source
    content = bytearray(recording.file.read_bytes())
    raw = np.frombuffer(content, "<i2", offset=header.bytes).reshape(header.records, -1)
    for channel, signal, samples in zip(_channels(header), recording.signals, signals, strict=True):
        (low, high), gain, offset = channel.scale()
        digital = np.round((samples - offset) / gain)
        # Inside the range, whose ends mean that nothing was observed.
        digital = np.clip(np.nan_to_num(digital), low + 1, high - 1).astype("<i2")
        part = raw[:, channel.start : channel.start + channel.samples]
        filled = np.isnan(signal.samples) & ~np.isnan(samples)
        part[:] = np.where(filled.reshape(part.shape), digital.reshape(part.shape), part)
    (folder / recording.file.name).write_bytes(content)


def _channels(header: EdfHeader) -> list[Channel]:
    return [c for c in header.channels if c.name != ANNOTATIONS]
