"""WFDB records of several segments, of fixed or variable layout (WFDB Applications Guide, header(5)).

In a record of variable layout, the first segment has no samples and lists all signals; the others have some
of them. Gaps between segments are missing time.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.wfdb_header import NO_FILE, WfdbHeader, WfdbSignal, read_wfdb_header
from data_partitions.recordings.wfdb_single_record import WfdbRecord, make_channels
from data_partitions.sentences import shorten


class WfdbSegments:
    """A record of several segments; DataError when one cannot be read or does not fit the others.

    `segments` has the first frame and the record of each, and the position of each channel in it (None where
    the segment lacks it).
    """

    def __init__(self, file: Path, header: WfdbHeader, uses_gains: bool) -> None:
        self.file = file
        self.header = header
        self.uses_gains = uses_gains
        self.start = header.start
        self.files = [file]
        variable = header.segments[0][1] == 0
        layout: list[WfdbSignal] = []
        if variable:
            name = header.segments[0][0]
            layout = self._read_header(name).signals
            self.files.append(file.with_name(f"{name}.hea"))
        self.segments: list[tuple[int, WfdbRecord, list[int | None]]] = []
        frame, gaps = 0, False
        for name, frames in header.segments:
            if name == NO_FILE:
                gaps = True
            elif frames:
                segment = self._read_header(name)
                if segment.samples not in (0, frames):
                    raise DataError(
                        f"{file} gives {frames} as the number of samples of {shorten(name)}, whose header "
                        f"gives {segment.samples}"
                    )
                record = WfdbRecord(file.with_name(f"{name}.hea"), segment._replace(samples=frames))
                self.files += [part for part in record.files if part not in self.files]
                layout = layout or segment.signals
                self.segments.append((frame, record, self._match(layout, segment, name, variable)))
            frame += frames
        if not self.segments:
            raise DataError(f"{file} has no samples")
        self.channels = make_channels(layout, header.rate, frame)
        self.frame_samples = [signal.frame_samples for signal in layout]
        self.notes = tuple(dict.fromkeys(note for _, record, _ in self.segments for note in record.notes))
        if gaps:
            self.notes += ("Gaps between its segments are missing time.",)

    def parts(self, channel: int, first: int, last: int) -> Iterator[tuple[int, WfdbRecord, int, int, int]]:
        """Yield (position in the stretch, record, its channel, first sample in it, last) of each segment."""
        count = self.frame_samples[channel]
        for frame, record, channels in self.segments:
            start = frame * count
            part = channels[channel]
            low, high = max(first, start) - start, min(last - start, record.frames * count)
            if part is not None and low < high:
                yield start + low - first, record, part, low, high

    def read(self, channel: int, first: int, last: int) -> np.ndarray:
        """Read samples; see `Recording`."""
        samples = np.full(last - first, np.nan)
        for at, record, part, low, high in self.parts(channel, first, last):
            samples[at : at + high - low] = record.read(part, low, high)
        return samples

    def _read_header(self, name: str) -> WfdbHeader:
        file = self.file.with_name(f"{name}.hea")
        try:
            header = read_wfdb_header(file)
        except DataError as error:
            raise DataError(f"a segment of {self.file.name}: {error}") from None
        if header.segments or not header.signals:
            raise DataError(f"{file}, a segment of {self.file.name}, describes no signals")
        if header.rate != self.header.rate:
            raise DataError(f"{file} is at {header.rate:g} Hz, {self.file.name} at {self.header.rate:g} Hz")
        return header if self.uses_gains else header.without_gains()

    def _match(
        self, layout: list[WfdbSignal], segment: WfdbHeader, name: str, variable: bool
    ) -> list[int | None]:
        """Return the position in a segment of each signal of the record."""
        places: list[int | None] = list(range(len(layout)))
        if variable:
            wanted, available = _number_names(layout), _number_names(segment.signals)
            places = [available.index(key) if key in available else None for key in wanted]
        elif len(segment.signals) != len(layout):
            raise DataError(
                f"{self.file}: the first segment and {shorten(name)} have different numbers of signals "
                f"({len(layout)} and {len(segment.signals)})"
            )
        for signal, place in zip(layout, places, strict=True):
            if place is None:
                continue
            other = segment.signals[place]
            if (other.unit, other.frame_samples) != (signal.unit, signal.frame_samples):
                raise DataError(
                    f"{self.file}: {shorten(signal.name)} has another unit or rate in {shorten(name)} than "
                    "in other segments"
                )
        return places


def _number_names(signals: list[WfdbSignal]) -> list[tuple[str, int]]:
    """Return names with their number among equal ones."""
    seen: Counter[str] = Counter()
    numbered = []
    for signal in signals:
        numbered.append((signal.name, seen[signal.name]))
        seen[signal.name] += 1
    return numbered
