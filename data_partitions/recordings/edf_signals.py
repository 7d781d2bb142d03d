"""The signals of an EDF, EDF+, BDF or BDF+ file.

The formats have no value for a missing sample. All samples are values, also those beyond the digital range of
the header, unless the ends of the range are said to stand for missing ones.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.blocks import BLOCK_NUMBERS, BlockReader
from data_partitions.recordings.edf_header import (
    ANNOTATIONS,
    EdfChannel,
    EdfHeader,
    EdfScale,
)
from data_partitions.recordings.edf_onsets import read_onsets
from data_partitions.recordings.recording import Channel
from data_partitions.sentences import shorten


class EdfRecording:
    """A file. The data records of EDF+D are placed in time, with gaps between them.

    Parameters
    ----------
    file
        The file.
    header
        Its header.
    ends_missing
        Whether samples at the ends of the digital range, or beyond, are missing.

    Raises
    ------
    DataError
        The file has no samples of any signal, or data records of EDF+D that overlap.
    """

    def __init__(self, file: Path, header: EdfHeader, ends_missing: bool) -> None:
        self.file = file
        self.files = [file]
        self.header = header
        self.start = header.start
        self.ends_missing = ends_missing
        self.signals: list[tuple[EdfChannel, EdfScale]] = []
        notes = list(_unusual(header))
        for channel in header.channels:
            if channel.name in ANNOTATIONS:
                continue
            try:
                scale = channel.scale()
            except ValueError:
                notes.append(
                    f"{shorten(channel.name)} is left out, as the header states no range of its values."
                )
                continue
            if channel.samples:
                self.signals.append((channel, scale))
            else:
                notes.append(f"{shorten(channel.name)} is left out, as it has no samples.")
        if header.channels and all(channel.name in ANNOTATIONS for channel in header.channels):
            raise DataError(f"{file} has annotations and no signals")
        if not self.signals or not header.records or not header.record_seconds:
            raise DataError(f"{file} has no samples of any signal")
        block = max(1, BLOCK_NUMBERS // header.record_samples)
        self.reader = BlockReader(self.load_records, header.records, block)
        # First sample of each data record on the time axis, by samples in a record; empty if they follow each
        # other.
        self.record_starts: dict[int, np.ndarray] = {}
        if header.reserved.startswith(("EDF+D", "BDF+D")):
            onsets = read_onsets(file, header, self.reader)
            for count in {channel.samples for channel, _ in self.signals}:
                follow = count * np.arange(header.records)
                starts = np.round((onsets - onsets[0]) * (count / header.record_seconds)).astype(np.int64)
                self.record_starts[count] = follow + np.maximum.accumulate(starts - follow)
            if (np.diff(onsets) > header.record_seconds * (1 + 1e-6)).any():
                notes.append("Gaps between its data records are missing time.")
        self.channels = tuple(
            Channel(channel.name, channel.unit, header.rate(channel), self._count_samples(channel))
            for channel, _ in self.signals
        )
        self.notes = tuple(notes)

    def load_records(self, first: int, last: int) -> np.ndarray:
        """Return the digital samples of data records as `(record, sample)`."""
        header = self.header
        with self.file.open("rb") as opened:
            opened.seek(header.bytes + first * header.record_bytes)
            content = opened.read((last - first) * header.record_bytes)
        return decode_samples(content, header.sample_bytes).reshape(last - first, header.record_samples)

    def stretches(self, channel: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Yield (sample on the time axis, sample in the file, count) of the parts that the file has."""
        part = self.signals[channel][0]
        count, total = part.samples, part.samples * self.header.records
        starts = self.record_starts.get(count)
        if starts is None:
            start, end = max(first, 0), min(last, total)
            if start < end:
                yield start, start, end - start
            return
        for record in range(max(0, int(np.searchsorted(starts, first, "right")) - 1), self.header.records):
            start, end = max(first, int(starts[record])), min(last, int(starts[record]) + count)
            if starts[record] >= last:
                return
            if start < end:
                yield start, record * count + start - int(starts[record]), end - start

    def read_digital(self, channel: int, start: int, count: int) -> np.ndarray:
        """Return samples of a channel as they are in the file, from sample `start` of the file on."""
        part = self.signals[channel][0]
        record = start // part.samples
        end = -(-(start + count) // part.samples)
        digital = self.reader.read(record, end, slice(part.start, part.start + part.samples))
        return digital[start - record * part.samples :][:count]

    def is_at_end(self, channel: int, digital: np.ndarray) -> np.ndarray:
        """Return which samples are at the ends of the digital range, or beyond."""
        scale = self.signals[channel][1]
        return (digital <= scale.low) | (digital >= scale.high)

    def count_at_ends(self, channel: int) -> int:
        """Count the samples of a channel that are at the ends of the digital range, or beyond."""
        per_record, block = self.signals[channel][0].samples, self.reader.block_rows
        total = 0
        for record in range(0, self.header.records, block):
            records = min(block, self.header.records - record)
            digital = self.read_digital(channel, record * per_record, records * per_record)
            total += int(self.is_at_end(channel, digital).sum())
        return total

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples; see `Recording`."""
        samples = np.full(last - first, np.nan)
        scale = self.signals[channel][1]
        for at, start, count in self.stretches(channel, first, last):
            try:
                digital = self.read_digital(channel, start, count)
            except (OSError, ValueError) as error:
                raise DataError(f"{self.file} cannot be read ({error})") from None
            physical = scale.gain * digital
            physical += scale.offset
            if self.ends_missing:
                physical[self.is_at_end(channel, digital)] = np.nan
            if count == len(samples):
                return physical
            samples[at - first : at - first + count] = physical
        return samples

    def _count_samples(self, channel: EdfChannel) -> int:
        starts = self.record_starts.get(channel.samples)
        return channel.samples * self.header.records if starts is None else int(starts[-1]) + channel.samples


def decode_samples(content: bytes, sample_bytes: int) -> np.ndarray:
    """Return the numbers of 2 bytes (EDF) or 3 bytes (BDF)."""
    if sample_bytes == 2:
        return np.frombuffer(content, "<i2")
    numbers = np.zeros((len(content) // 3, 4), np.uint8)
    numbers[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
    return numbers.view("<i4")[:, 0] >> 8


def _unusual(header: EdfHeader) -> Iterator[str]:
    """Yield sentences on what is unusual, without numbers, so that those of many files can be counted."""
    stated = header.stated_records
    if stated in (None, -1):
        yield "The header states no number of data records: those of the file are read."
    elif stated != header.records:
        other = "fewer" if stated > header.records else "more"
        yield f"The file has {other} data records than its header states: those of the file are read."
    if header.padding:
        yield "Bytes after the last complete data record of the file are ignored."
    if header.time_of_day is None:
        yield "The header states no readable time of the start."
    elif header.start is None:
        yield "The header states no readable date of the start."
