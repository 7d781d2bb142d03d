"""What the readers of sampled recordings and of tables over time have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.listing import ListedRecording, Listing


class RecordingWindows(NamedTuple):
    """The windows of one recording."""

    starts: np.ndarray  # in s, on the time axis of the recording, `(window,)`
    # Number of each window in the recording, also counting those that are left out: `(window,)`.
    numbers: np.ndarray
    labels: np.ndarray  # float32 `(window, label)`, NaN where there is none
    modalities: tuple[str, ...]  # names of the signals that the recording has
    # The file by which recordings are compared, byte for byte; None if it has several recordings.
    signal_file: Path | None


class WindowReader(Protocol):
    """Lists recordings, cuts them into windows, and reads these."""

    def list(self, log: PreparationLog) -> Listing:
        """List the recordings of the source."""

    def cut(
        self, recordings: Sequence[ListedRecording], log: PreparationLog
    ) -> Iterator[tuple[ListedRecording, RecordingWindows]]:
        """Yield the windows of each recording; those that cannot be used are rejected."""

    def read(self, rows: pd.DataFrame, log: PreparationLog) -> Iterator[np.ndarray | None]:
        """Yield the window of each row of the index: float32 `(modality, patch, sample)`, NaN where missing.

        None where a window cannot be used. The columns are `recording_id`, `file` (below the source), `part`
        (name of the recording in a file of several) and `start`. Rows of one recording follow each other.
        What is said to the log about a recording is said before the first window of the next one is yielded.
        """
