"""Whether the times of tables are so far apart that their unit is doubtful."""

from __future__ import annotations

import numpy as np

from data_partitions.description.durations import format_approximately, format_seconds
from data_partitions.description.sections import Description
from data_partitions.sentences import count_noun

MAX_STEPS_APART = 5  # median distance of times, in steps of the grid, that is not doubtful
MAX_EVENTS = 1_000_000  # by which the distance is judged


def describe_wide_spacing(description: Description, recording: np.ndarray, seconds: np.ndarray) -> str:
    """Return a sentence if elapsed times are so far apart that most steps of the grid are empty; else "".

    Parameters
    ----------
    description
        The description.
    recording, seconds : array (event,)
        Position of the recording of each event, and its time.
    """
    grid, unit = description.window.grid, description.files.time_unit
    if not grid or unit == "datetime" or description.files.format == "meds" or len(seconds) < 2:
        return ""
    order = np.lexsort((seconds, recording))
    recording, seconds = recording[order], seconds[order]
    apart = np.diff(seconds)[np.diff(recording) == 0]
    apart = apart[apart > 0]
    if not len(apart) or (median := float(np.median(apart))) <= MAX_STEPS_APART * grid:
        return ""
    recordings = count_noun(len(np.unique(recording)), "recording")
    return (
        f"times are {format_approximately(median)} apart (median, {recordings}), but the grid is "
        f'{format_seconds(grid)}, so that most steps are empty: is time-unit = "{unit}" wrong?'
    )
