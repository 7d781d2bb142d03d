"""The csv files of predictions: one row per window, and one per recording."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from condi_core.windows import Schema
from data_partitions.storage import atomic_write, require_absent, reserve_output
from data_partitions.table import CsvWriter
from data_partitions.temporary import remove_abandoned


class WindowPrediction(NamedTuple):
    """What is predicted of one window.

    Attributes
    ----------
    record : id of the window's record
    recording : id of the recording that the window is from
    position : number of the window in its recording, from 0
    values : float32 (column,)
    draws : float32 (draw, column)
    missing : bool (modality,), without any sample in the window
    """

    record: str
    recording: str
    position: int
    values: np.ndarray
    draws: np.ndarray
    missing: np.ndarray


def recordings_file(out: Path) -> Path:
    """Return the path of the table with one row per recording."""
    return out.with_name(f"{out.stem}-recordings{out.suffix}")


class PredictionTables(AbstractContextManager):
    """Writes both tables; each appears complete, or not at all when there is nothing to write.

    Predictions of a recording are means over its windows. DataError when one of the files exists, or another
    process writes them.
    """

    def __init__(self, out: Path, schema: Schema) -> None:
        for path in (out, recordings_file(out)):
            require_absent(path)
        self.num_windows = 0
        self._out = out
        self._names = np.array(schema.names)
        unit = f" ({schema.label_unit})" if schema.label_unit else ""
        self._columns = schema.task_kind.prediction_columns([f"{label}{unit}" for label in schema.labels])
        self._recordings: dict[str, _RecordingMean] = {}
        self._stack = ExitStack()

    def __enter__(self) -> PredictionTables:
        with self._stack:
            self._stack.enter_context(reserve_output(self._out))
            remove_abandoned(self._out.parent, recordings_file(self._out).name)
            self._writer = self._open(self._out, "window")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error) -> bool | None:
        if error[0] is not None:
            return self._stack.__exit__(*error)
        try:
            with self._stack:
                writer = self._open(recordings_file(self._out), "windows")
                for recording, mean in self._recordings.items():
                    writer.writerow([recording, mean.windows, *self._cells(*mean.prediction(), mean.missing)])
        except OSError:  # one table is of no use without the other, and would prevent another try
            self._remove()
            raise
        if not self.num_windows:
            self._remove()
        return None

    @property
    def num_recordings(self) -> int:
        """Recordings that have a prediction."""
        return len(self._recordings)

    def add(self, predictions: Sequence[WindowPrediction]) -> None:
        """Add a row for each window, and count it for its recording."""
        for prediction in predictions:
            mean = self._recordings.setdefault(prediction.recording, _RecordingMean())
            mean.add(prediction)
            cells = self._cells(prediction.values, _spread(prediction.draws), prediction.missing)
            self._writer.writerow([prediction.record, prediction.position, *cells])
            self.num_windows += 1

    def _remove(self) -> None:
        for path in (self._out, recordings_file(self._out)):
            path.unlink(missing_ok=True)

    def _open(self, path: Path, count: str):
        file = self._stack.enter_context(atomic_write(path))
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._stack.callback(text.detach)  # This leaves the file open.
        writer = CsvWriter(text)
        spreads = (f"{column} spread" for column in self._columns)
        writer.writerow(["record", count, *self._columns, *spreads, "missing modalities"])
        return writer

    def _cells(self, values: np.ndarray, spread: np.ndarray, missing: np.ndarray) -> list[str]:
        return [
            *(f"{value:.6f}" for value in values),
            *("" if np.isnan(value) else f"{value:.6f}" for value in spread),
            " ".join(self._names[missing]),
        ]


class _RecordingMean:
    """Sums over the windows of a recording."""

    def __init__(self) -> None:
        self.windows = 0
        self._values: np.ndarray | float = 0.0
        self._draws: np.ndarray | float = 0.0
        self.missing = np.array(True)

    def add(self, window: WindowPrediction) -> None:
        self.windows += 1
        self._values = self._values + window.values.astype(np.float64)
        self._draws = self._draws + window.draws.astype(np.float64)
        self.missing = self.missing & window.missing

    def prediction(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of each column, and its spread over the draws."""
        return np.asarray(self._values) / self.windows, _spread(np.asarray(self._draws) / self.windows)


def _spread(draws: np.ndarray) -> np.ndarray:
    """Return the standard deviation over draws; NaN without at least two."""
    return draws.std(0, ddof=1) if len(draws) > 1 else np.full(draws.shape[1], np.nan)
