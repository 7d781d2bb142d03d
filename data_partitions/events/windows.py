"""Read windows on a grid from tables over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from data_partitions.checkpoint import Checkpoint, PassState
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.events.channels import ChannelMap
from data_partitions.events.drops import Drops
from data_partitions.events.files import EventFile, group_files
from data_partitions.events.grid import GridSignal, GridWindows
from data_partitions.events.reading import EventReader, Events, Recordings
from data_partitions.events.rows import FileFaults
from data_partitions.events.spacing import MAX_EVENTS, describe_doubtful_times
from data_partitions.events.times import US_PER_SECOND
from data_partitions.events.window_finder import WindowFinder
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun


def read_windows(
    description: Description,
    files: Sequence[EventFile],
    recordings: Sequence[str],
    starts: Sequence[float],
    log: PreparationLog,
    checkpoint: Checkpoint | None = None,
) -> Iterator[list[np.ndarray] | None]:
    """Yield windows as float32 `(step,)` of each signal, NaN where nothing was measured.

    Starts are in s on the time axis of the files. None is yielded for a recording whose file cannot be read.
    Within a step of the grid, values of an earlier channel of a signal are preferred to those of a later one,
    and `within` says which of several values counts. Of two with the same time, the later row is the last.
    Values outside the range of their signal are dropped. Notes count what is dropped. For the memory, see
    `GridWindows`. What `checkpoint` has is not read again.
    """
    drops, faults = Drops(), FileFaults(log)
    names = dict.fromkeys(recordings)
    positions = {name: position for position, name in enumerate(names)}
    files = [file for file in files if not file.record or file.record in positions]
    channels = ChannelMap(description.signals, patterns=description.files.format == "meds")
    reader = EventReader(description.files, channels, faults, drops)
    collector = _Collector(
        description,
        channels,
        np.array([positions[name] for name in recordings], np.int64),
        np.round(np.asarray(starts, float) * US_PER_SECOND).astype(np.int64),
    )

    def export_state() -> PassState:
        facts, arrays = collector.export_state()
        of_reader = [reader.times.has_zone, reader.num_backward, reader.first_backward]
        rejected = [sorted(faults.recordings), log.rejected]
        facts |= {"drops": drops.export_state(), "reader": of_reader, "rejected": rejected}
        return PassState(facts, arrays)

    def restore_state(state: PassState) -> None:
        collector.restore_state(state)
        drops.restore_state(state.facts["drops"])
        reader.times.has_zone, reader.num_backward, reader.first_backward = state.facts["reader"]
        names_of_faults, log.rejected[:] = state.facts["rejected"]
        faults.recordings = set(names_of_faults)

    checkpoint = checkpoint or Checkpoint(None, "", log)
    blocks, known = group_files(files), Recordings(list(names))
    for rows in checkpoint.read_parts(blocks, reader.read_rows, export_state, restore_state):
        for events in reader.find_events(rows, known):
            collector.add(events)
        log.progress("reading values", int(collector.has_events.sum()), len(names))
    collector.count_drops(drops)
    drops.write_notes(log)
    if reader.num_backward:
        log.note(
            f"Times go back in {count_noun(reader.num_backward, 'row')} (first: {reader.first_backward}): "
            "rows are placed by their time."
        )
    collector.write_notes(log)
    for window, name in enumerate(recordings):
        yield None if name in faults.recordings else collector.windows.read(window)


class _Collector:
    """Brings events into windows and counts those that are in none."""

    def __init__(
        self, description: Description, channels: ChannelMap, recording: np.ndarray, start: np.ndarray
    ):
        self._description, self._channels = description, channels
        self._times: list[tuple[np.ndarray, np.ndarray]] = []  # of the first events
        length = round(description.window.length * US_PER_SECOND)
        self._finder = WindowFinder(recording, start, length)
        self._signals = [make_grid_signal(description, name) for name in description.signals]
        self.windows = GridWindows(self._signals, len(recording))
        self._signal = np.array([channel.signal for channel in channels.channels])
        self._preference = np.array([channel.preference for channel in channels.channels])
        ranges = [section.range or (-np.inf, np.inf) for section in description.signals.values()]
        self._low, self._high = (np.array(bounds) for bounds in zip(*ranges, strict=True))
        self._outside: Counter[int] = Counter()
        self._early, self._late = 0, 0
        self.has_events = np.zeros(int(recording.max(initial=-1)) + 1, bool)
        self._has_signal = np.zeros(len(self._signals), bool)

    def add(self, events: Events) -> None:
        """Add events of recordings that have a window."""
        recording, microseconds, channel, values = events
        self.has_events[recording] = True
        if sum(len(times) for _, times in self._times) < MAX_EVENTS:
            self._times.append((recording, microseconds / US_PER_SECOND))
        early = self._finder.is_early(recording, microseconds)
        in_window = np.zeros(len(values), bool)
        signal = self._signal[channel]
        self._has_signal[signal] = True
        plausible = (values >= self._low[signal]) & (values <= self._high[signal])
        for rows, window, since_start in self._finder.find(recording, microseconds):
            in_window[rows] = True
            usable = plausible[rows]
            rows, window, since_start = rows[usable], window[usable], since_start[usable]
            self.windows.add(window, signal[rows], since_start, self._preference[channel[rows]], values[rows])
        self._early += int(early.sum())
        self._late += int((~early & ~in_window).sum())
        for number, count in enumerate(
            np.bincount(signal[in_window & ~plausible], minlength=len(self._signals))
        ):
            self._outside[number] += int(count)

    def export_state(self) -> PassState:
        """Return the windows and the counts so far."""
        facts = {"early": self._early, "late": self._late, "outside": list(self._outside.items())}
        recording, seconds = self._first_events()
        arrays = {
            "recording of time": recording,
            "time": seconds,
            "has events": self.has_events,
            "has signal": self._has_signal,
        }
        return PassState(facts, {**arrays, **self.windows.export_state()})

    def restore_state(self, state: PassState) -> None:
        """Replace the windows and the counts by exported ones."""
        facts, arrays = state
        self._early, self._late, self._outside = (
            facts["early"],
            facts["late"],
            Counter(dict(facts["outside"])),
        )
        self._times = [(np.array(arrays["recording of time"]), np.array(arrays["time"]))]
        self.has_events[:], self._has_signal[:] = arrays["has events"], arrays["has signal"]
        self.windows.restore_state(arrays)

    def _first_events(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the recording and the time (s) of the first events."""
        parts = [(np.zeros(0, np.int64), np.zeros(0)), *self._times]
        recording, seconds = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return recording, seconds

    def count_drops(self, drops: Drops) -> None:
        """Count the events that are in no window."""
        drops.add("value", "before the first window", self._early)
        drops.add("value", "after the last window, or between windows", self._late)

    def write_notes(self, log: PreparationLog) -> None:
        """Note doubtful times, values outside the ranges, and signals and recordings without any value."""
        if sentence := describe_doubtful_times(self._description, *self._first_events()):
            log.note(sentence[0].upper() + sentence[1:])
        names = self._channels.signals
        counts = [f"{names[number]} {count}" for number, count in self._outside.most_common() if count]
        if counts:
            log.note(f"Dropped because they are outside the range of their signal: {', '.join(counts)}.")
        absent = [names[number] for number in np.flatnonzero(~self._has_signal)]
        if absent:
            log.note(f"Nothing was measured of {', '.join(absent)}.")
        empty = int((~self.has_events).sum())
        if empty:
            log.note(f"Recordings in which nothing was measured: {empty}.")


def make_grid_signal(description: Description, name: str) -> GridSignal:
    """Return the steps of a signal in a window; DataError when they are not a whole number."""
    section, window = description.signals[name], description.window
    if section.rate is None and window.grid is None:
        raise DataError(f'signals.{name} has neither a rate nor a grid: give window.grid, such as "1 h"')
    step = 1 / section.rate if section.rate is not None else float(window.grid or 0)
    steps = round(window.length / step)
    if steps < 1 or abs(steps * step - window.length) > 1e-6 * window.length:
        raise DataError(
            f"signals.{name}: a window of {window.length:g} s has {window.length / step:g} steps of {step:g} "
            "s, expected a whole number"
        )
    return GridSignal(steps, step * US_PER_SECOND, section.within)
