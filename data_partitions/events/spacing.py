"""Whether the elapsed times of tables are so far apart, or end so early, that their unit is doubtful."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_partitions.description.durations import SECONDS, format_approximately, format_seconds
from data_partitions.description.sections import Description
from data_partitions.sentences import count_noun

MAX_STEPS_APART = 5  # median distance of times, in steps of the grid, that is not doubtful
MIN_SHARE_OF_WINDOW = 0.1  # at which most recordings end, which is not doubtful
MAX_EVENTS = 100_000  # by which the times are judged


def describe_doubtful_times(description: Description, recording: np.ndarray, seconds: np.ndarray) -> str:
    """Return a sentence if most steps of the grid are empty, as with another unit they would not be; else "".

    `recording` is the position of the recording of each event, and `seconds` its time: `(event,)`.
    """
    grid, unit, length = description.window.grid, description.files.time_unit, description.window.length
    if not grid or unit == "datetime" or description.files.format == "meds" or len(seconds) < 2:
        return ""
    order = np.lexsort((seconds, recording))
    recording, seconds = recording[order], seconds[order]
    apart = np.diff(seconds)[np.diff(recording) == 0]
    apart = apart[apart > 0]
    if not len(apart):
        return ""
    of_recordings = pd.Series(seconds).groupby(recording).max()
    recordings = count_noun(len(of_recordings), "recording")
    ends = f'so that most steps are empty: is time-unit = "{unit}" wrong?'
    if (median := float(np.median(apart))) > MAX_STEPS_APART * grid:
        return (
            f"times are {format_approximately(median)} apart (median, {recordings}), but the grid is "
            f"{format_seconds(grid)}, {ends}"
        )
    last = float(of_recordings.median())
    if last < MIN_SHARE_OF_WINDOW * length and unit != max(SECONDS, key=lambda name: SECONDS[name]):
        return (
            f"the last times are {format_approximately(last)} (median, {recordings}), but a window is "
            f"{format_seconds(length)}, {ends}"
        )
    return ""
