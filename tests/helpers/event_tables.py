"""Small tables over time, and the windows that a description makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.description.sections import Description
from data_partitions.events.files import EventFile
from data_partitions.events.windows import read_windows
from data_partitions.preparation_log import PreparationLog


def describe(files: dict[str, Any], signals: dict[str, dict[str, Any]], **window: Any) -> Description:
    """Describe a table over time, by default with windows of 4 h by the hour."""
    return Description.model_validate(
        {
            "dataset": {"name": "generated"},
            "files": {"format": "csv", "path": "*.csv", "time": "time", "time-unit": "h", **files},
            "window": {"length": "4 h", "grid": "1 h", "take": "first", **window},
            "signals": signals,
        }
    )


def read_table(
    description: Description,
    files: Sequence[EventFile],
    starts: dict[str, float] | None = None,
    log: PreparationLog | None = None,
) -> np.ndarray:
    """Read a window of each recording: float64 `(recording, signal, step)`, of equal steps."""
    starts = starts if starts is not None else {file.record: 0.0 for file in files}
    log = log if log is not None else PreparationLog(strict=True)
    windows = list(read_windows(description, files, list(starts), list(starts.values()), log))
    return np.stack([np.stack(window).astype(float) for window in windows if window is not None])


def write(path: Path, text: str, encoding: str = "utf-8") -> EventFile:
    """Write a file of one recording, whose name is that of the file."""
    path.write_bytes(text.encode(encoding))
    return EventFile(path, path.name.split(".")[0])
