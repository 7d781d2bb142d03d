"""Copies of WFDB records in which missing samples are filled.

Headers are copied byte by byte; only initial values and checksums of signals that were filled change in them.
"""

import re
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.blocks import BLOCK_NUMBERS
from data_partitions.recordings.wfdb_header import SIGNAL_LINE, decode_line, header_lines
from data_partitions.recordings.wfdb_segments import WfdbSegments
from data_partitions.recordings.wfdb_single_record import WfdbRecord
from data_partitions.sentences import shorten

_SIGNAL_LINE = re.compile(SIGNAL_LINE.pattern.encode(), re.VERBOSE)


class WfdbOutput:
    """A copy of a record of one segment.

    DataError when another record has the same samples, or samples are missing in a format that cannot be
    written.
    """

    def __init__(self, record: WfdbRecord, folder: Path) -> None:
        self.record = record
        self.folder = folder
        self.first_samples: dict[int, int] = {}
        self.sum_changes: dict[int, int] = {}
        _require_separate_samples(record)
        _require_writable(record)
        for file in record.files:
            shutil.copyfile(file, folder / file.name)

    def fill(self, channel: int, first: int, samples: np.ndarray) -> None:
        """Write samples where the recording has none; see `Output`."""
        if channel not in self.record.places:
            return
        start, end = self.record.stretch(channel, first, first + len(samples))
        shift = start - max(first, 0) + first  # sample of the file at samples[0]
        for position in range(start, end, BLOCK_NUMBERS):
            block_end = min(position + BLOCK_NUMBERS, end)
            self._fill_block(channel, position, samples[position - shift : block_end - shift])

    def _fill_block(self, channel: int, start: int, samples: np.ndarray) -> None:
        signal = self.record.header.signals[channel]
        signal_file, place = self.record.places[channel]
        layout = signal_file.format
        digital = self.record.read_digital(channel, start, start + len(samples))
        at = np.flatnonzero((digital == signal_file.missing) & np.isfinite(samples))
        if not layout or not len(at):
            return
        values = np.round(samples[at] * signal.gain + signal.baseline)
        values = np.clip(values, layout.missing + 1, -(layout.missing + 1)).astype(np.int64)
        frames, rest = np.divmod(start + at, signal.frame_samples)
        positions = frames * signal_file.width + signal_file.starts[place] + rest
        base = int(positions[0]) // layout.block_samples * layout.block_samples
        count = int(positions[-1]) + 1 - base
        with open(self.folder / signal_file.file.name, "r+b") as opened:
            offset = signal_file.offset + layout.bytes_of(base)
            opened.seek(offset)
            content = np.frombuffer(opened.read(layout.bytes_of(count)), np.uint8)
            before = layout.decode(content, count)[positions - base]
            opened.seek(offset)
            opened.write(layout.replace(content, positions - base, values).tobytes())
        self.sum_changes[channel] = self.sum_changes.get(channel, 0) + int(
            values.sum() - before.sum(dtype=int)
        )
        if start == 0 and at[0] == 0:
            self.first_samples[channel] = int(values[0])

    def close(self) -> None:
        """Bring initial values and checksums in the header up to date."""
        if self.sum_changes:
            header = self.folder / self.record.file.name
            header.write_bytes(self._changed_header(header.read_bytes()))

    def _changed_header(self, content: bytes) -> bytes:
        lines, number = content.split(b"\n"), -1  # -1 is the line of the record
        for i, line in enumerate(lines):
            if not line.strip() or line.strip().startswith(b"#"):
                continue
            if number in self.sum_changes:
                lines[i] = self._changed_line(line, number)
            number += 1
        return b"\n".join(lines)

    def _changed_line(self, line: bytes, signal: int) -> bytes:
        start = len(line) - len(line.lstrip())
        parts = _SIGNAL_LINE.fullmatch(line.strip())
        assert parts, "the header was read before"
        numbers = []
        if parts["checksum"]:
            checksum = (int(parts["checksum"]) + self.sum_changes[signal]) % 65536
            if self._has_signed_checksums() and checksum > 32767:
                checksum -= 65536
            numbers.append(("checksum", checksum))
        if parts["initial"] and signal in self.first_samples:
            numbers.append(("initial", self.first_samples[signal]))
        for name, value in numbers:  # from right to left, so that positions stay
            first, last = (start + position for position in parts.span(name))
            line = line[:first] + str(value).encode() + line[last:]
        return line

    def _has_signed_checksums(self) -> bool:
        lines = header_lines(self.record.file.read_bytes())[1:]
        matches = (_SIGNAL_LINE.fullmatch(line) for line in lines)
        return any(int(parts["checksum"] or 0) < 0 for parts in matches if parts)


class WfdbSegmentsOutput:
    """A copy of a record of several segments."""

    def __init__(self, recording: WfdbSegments, folder: Path) -> None:
        self.recording = recording
        records = {record.file: record for _, record, _ in recording.segments}
        for record in records.values():
            _require_separate_samples(record)
            _require_writable(record)
        self.outputs = {file: WfdbOutput(record, folder) for file, record in records.items()}
        for file in recording.files:
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)

    def fill(self, channel: int, first: int, samples: np.ndarray) -> None:
        """Write samples where the recording has none; see `Output`."""
        for at, record, part, low, high in self.recording.parts(channel, first, first + len(samples)):
            self.outputs[record.file].fill(part, low, samples[at : at + high - low])

    def close(self) -> None:
        """Finish the headers of all segments."""
        for output in self.outputs.values():
            output.close()


def _require_writable(record: WfdbRecord) -> None:
    """Raise DataError when samples are missing in a format that cannot be written."""
    for channel, (signal_file, _) in record.places.items():
        if signal_file.format or signal_file.missing is None:
            continue
        name, _, _, length = record.channels[channel]
        for first in range(0, length, BLOCK_NUMBERS):
            if np.isnan(record.read(channel, first, min(first + BLOCK_NUMBERS, length))).any():
                form = record.header.signals[channel].format
                raise DataError(
                    f"{record.file}: {shorten(name)} is in format {form}, which can be read but not written: "
                    "convert the record to format 16"
                )


def _require_separate_samples(record: WfdbRecord) -> None:
    """Raise DataError when another header describes the same samples, as one copy would change the other."""
    folder = record.file.parent
    headers = _headers_by_file(folder, folder.stat().st_mtime_ns)
    for file in record.files[1:]:
        others = sorted(headers.get(file.name, set()) - {record.file.name})
        if others:
            raise DataError(
                f"{record.file} and {others[0]} share the samples in {file.name}, and completing one would "
                "change the other: put one of them into another folder, with a copy of the samples"
            )


@lru_cache(maxsize=4)
def _headers_by_file(folder: Path, _: int) -> dict[str, set[str]]:
    """Return the names of the headers in a folder that name each signal file."""
    headers: dict[str, set[str]] = {}
    for header in folder.glob("*.hea"):
        try:
            lines = header_lines(header.read_bytes())[1:]
        except OSError:
            continue
        for line in lines:
            headers.setdefault(decode_line(line).split(maxsplit=1)[0], set()).add(header.name)
    return headers
