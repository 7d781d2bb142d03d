"""How many steps of the windows of stays have a value, signal by signal."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_partitions.checks.stay_sample import StaySample
from data_partitions.description.sections import Description
from data_partitions.events.times import US_PER_SECOND
from data_partitions.events.window_finder import WindowFinder
from data_partitions.events.windows import make_grid_signal
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.event_recordings import EventRecordings
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.stays import Stays


class WindowCells(NamedTuple):
    """Steps of windows."""

    # Number of steps of each window that have a value within the range: int `(window, signal)`.
    filled: np.ndarray
    steps: np.ndarray  # number of steps of a window: int `(signal,)`

    def observed_shares(self, least_observed: float) -> np.ndarray:
        """Return the share of steps with a value, over the windows that are not left out: `(signal,)`."""
        used = self.filled[self.filled.sum(axis=1) >= least_observed * self.steps.sum()]
        return used.sum(axis=0) / np.maximum(self.steps * len(used), 1)


def count_cells(description: Description, source: Path, stays: Stays, sample: StaySample) -> WindowCells:
    """Cut the stays of a sample into windows as the preparation does, and count their steps with a value."""
    reader = EventRecordings(description, source, LabelRule(description))
    reader.take(stays)
    position = {name: number for number, name in enumerate(sample.stays)}
    if not sample.all_values:
        read = np.unique(np.concatenate([signal.stay for signal in sample.signals.values()]))
        position = {sample.stays[number]: int(number) for number in read}
    chosen = [listed for listed in stays.listing.recordings if listed.record in position]
    start_of = stays.times["start"].to_dict()
    recording, starts = [np.zeros(0, int)], [np.zeros(0)]
    for listed, windows in reader.cut(chosen, PreparationLog()):
        recording.append(np.full(len(windows.starts), position[listed.record]))
        starts.append(windows.starts - start_of[listed.record])
    start = np.round(np.concatenate(starts) * US_PER_SECOND).astype(np.int64)
    finder = WindowFinder(np.concatenate(recording), start, round(description.window.length * US_PER_SECOND))
    grids = [make_grid_signal(description, name) for name in sample.signals]
    filled = np.zeros((len(start), len(grids)), int)
    for number, (grid, (name, signal)) in enumerate(zip(grids, sample.signals.items(), strict=True)):
        low, high = description.signals[name].range or (-np.inf, np.inf)
        cut = np.isin(signal.stay, np.concatenate(recording))
        used = cut & (signal.values >= low) & (signal.values <= high)
        microseconds = np.round(signal.seconds[used] * US_PER_SECOND).astype(np.int64)
        for _, window, since_start in finder.find(signal.stay[used], microseconds):
            step = np.minimum(np.floor((since_start + 0.5) / grid.step).astype(int), grid.steps - 1)
            cells = np.unique(window * grid.steps + step)
            filled[:, number] += np.bincount(cells // grid.steps, minlength=len(start))
    return WindowCells(filled, np.array([grid.steps for grid in grids]))
