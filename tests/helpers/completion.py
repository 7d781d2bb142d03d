"""Complete a file with values that tests choose."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.recordings import create_output, open_recording


def complete(
    file: Path, folder: Path, value: Callable[[int, int], float], stretch: int = 70, **options: Any
) -> Path:
    """Complete all channels with `value(channel, sample)`, a stretch at a time; return the copy."""
    folder.mkdir()
    recording = open_recording(file, **options)
    output = create_output(recording, folder)
    for i, channel in enumerate(recording.channels):
        for first in range(-2, channel.samples + 2, stretch):
            output.fill(i, first, np.array([value(i, first + k) for k in range(stretch)], float))
    output.close()
    return folder / file.name
