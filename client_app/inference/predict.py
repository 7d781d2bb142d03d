"""Label probabilities of a site's windows, or of its native files, as a CSV with one row per window."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from client_app.inference.opening import open_compatible_partition
from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions import DataError
from data_partitions.layout import detect_partition
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import WindowGrid, find_recordings, format_of
from data_partitions.storage import atomic_write


class RecordWindow(NamedTuple):
    """A window of a record.

    `position` counts the windows of a record from 0; `values` are `(modality, patch, sample)`, NaN where not
    observed.
    """

    record: str
    position: int
    values: np.ndarray


def predict_to_csv(
    model: TrainedRun,
    data: Path,
    out: Path,
    samples: int,
    method: str,
    seed: int,
    grid: WindowGrid,
    progress: ProgressCallback,
) -> tuple[int, list[str]]:
    """Classify all windows of a partition or of native files.

    Parameters
    ----------
    model : TrainedRun
    data : Path
        A partition, a file, or a folder of files.
    out : Path
        The CSV to write; it is removed if nothing could be classified.
    samples : int
        Completions for the spread of each probability.
    method : str
        One of the run's methods, or "" for the run's setting `method`.
    seed : int
        Seed of the completions.
    grid : WindowGrid
        How recordings are cut into the model's windows.
    progress : callable

    Returns
    -------
    num_windows : int
    skipped : list of str
        Why files could not be used, one sentence each.
    """
    skipped: list[str] = []
    if detect_partition(data):
        windows = _partition_windows(model, data, progress)
    else:
        windows = _file_windows(grid, data, skipped, progress)
    num_windows = _write_csv(out, model, _table_rows(model, windows, samples, method, seed))
    if not num_windows:
        out.unlink()
    return num_windows, skipped


def _partition_windows(model: TrainedRun, data: Path, progress: ProgressCallback) -> Iterator[RecordWindow]:
    partition = open_compatible_partition(model, data)
    for start in range(0, len(partition), WINDOWS_PER_BLOCK):
        progress("windows", start, len(partition))
        rows = np.arange(start, min(start + WINDOWS_PER_BLOCK, len(partition)))
        values, observed = partition.read(rows)
        for row, window in zip(rows, np.where(observed, values, np.nan), strict=True):
            yield RecordWindow(str(partition.record_ids[row]), 0, window)


def _file_windows(
    grid: WindowGrid, data: Path, skipped: list[str], progress: ProgressCallback
) -> Iterator[RecordWindow]:
    files = find_recordings(data)
    root = data if data.is_dir() else files[0].parent
    for number, file in enumerate(files):
        progress("files", number, len(files))
        try:
            windows = grid.cut_windows(format_of(file).read(file))
        except (DataError, OSError) as error:
            skipped.append(str(error))
            continue
        for position, window in enumerate(windows):
            yield RecordWindow(str(file.relative_to(root).with_suffix("")), position, window)


def _table_rows(
    model: TrainedRun, windows: Iterator[RecordWindow], samples: int, method: str, seed: int
) -> Iterator[list[object]]:
    """Classify windows a block at a time, and yield a row of the table for each."""
    block: list[RecordWindow] = []

    def classify_block() -> Iterator[list[object]]:
        prediction = model.predict(np.stack([w.values for w in block]), None, samples, seed, method)
        for window, values, spreads in zip(block, prediction.values, prediction.spread, strict=True):
            yield [
                window.record,
                window.position,
                *(f"{p:.6f}" for p in values),
                *("" if np.isnan(s) else f"{s:.6f}" for s in spreads),
                " ".join(_missing_modalities(model, window)),
            ]

    for window in windows:
        block.append(window)
        if len(block) == WINDOWS_PER_BLOCK:
            yield from classify_block()
            block.clear()
    if block:
        yield from classify_block()


def _missing_modalities(model: TrainedRun, window: RecordWindow) -> list[str]:
    return [name for name, x in zip(model.schema.names, window.values, strict=True) if np.isnan(x).all()]


def _write_csv(out: Path, model: TrainedRun, rows: Iterator[list[object]]) -> int:
    """Write the table atomically; return its number of rows."""
    columns = model.schema.task_kind.prediction_columns(model.schema.labels)
    num_rows = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        spreads = (f"{column} spread" for column in columns)
        writer.writerow(["record", "window", *columns, *spreads, "missing modalities"])
        for row in rows:
            writer.writerow(row)
            num_rows += 1
        text.detach()  # This flushes the text and leaves the file open.
    return num_rows
