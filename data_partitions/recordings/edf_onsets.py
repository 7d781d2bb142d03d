"""When the data records of an EDF+D file start."""

from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.blocks import BlockReader
from data_partitions.recordings.edf_header import ANNOTATIONS, EdfHeader

MAX_SECONDS = 1e9  # 30 years


def read_onsets(file: Path, header: EdfHeader, reader: BlockReader) -> np.ndarray:
    """Read the onset of each data record, its first annotation: float64 `(record,)`, in s from the start.

    DataError when a data record has no onset, or starts before the one before it ends.
    """
    channel = next((c for c in header.channels if c.name in ANNOTATIONS and c.samples), None)
    if channel is None:
        raise DataError(
            f"{file} is an EDF+D file without annotations, which would say when its records start"
        )
    columns = slice(channel.start, channel.start + channel.samples)
    dtype = "<i2" if header.sample_bytes == 2 else "<i4"
    onsets = np.empty(header.records)
    for first in range(0, header.records, reader.block_rows):
        last = min(first + reader.block_rows, header.records)
        numbers = reader.read(first, last, columns).astype(dtype).reshape(last - first, -1)
        content = np.ascontiguousarray(numbers).view(np.uint8).reshape(last - first, channel.samples, -1)
        for record, row in enumerate(content[:, :, : header.sample_bytes], first):
            onsets[record] = _parse_onset(row.tobytes())
    if not (np.abs(onsets) < MAX_SECONDS).all():
        record = int(np.argmin(np.abs(onsets) < MAX_SECONDS))
        raise DataError(f"{file} does not say when its data record {record + 1} starts, as EDF+D must")
    fastest = max(header.rate(c) for c in header.channels if c.name not in ANNOTATIONS)
    early = np.diff(onsets) < header.record_seconds - 1 / fastest
    if early.any():
        record = int(np.argmax(early)) + 2
        raise DataError(
            f"{file} has a data record, number {record}, that starts before the one before it ends"
        )
    return onsets


def _parse_onset(content: bytes) -> float:
    """Return the onset at the start of a list of annotations; NaN if there is none."""
    try:
        return float(content.split(b"\x14", 1)[0].decode("ascii"))
    except ValueError:
        return np.nan
