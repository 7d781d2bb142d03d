"""`condi predict`: label probabilities of a site's windows or of its own files, one row each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from client_app.inference.impute_partition import open_compatible_partition
from client_app.inference.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    KeepUnknownOption,
    ModelOption,
    ResampleOption,
    is_partition,
    open_run,
)
from condi_core.config import ConfigError
from condi_core.model import TrainedRun
from condi_core.weights_file import WeightsFileError
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions import DataError
from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import WindowGrid, find_recordings, format_of
from data_partitions.storage import atomic_write, require_absent


def predict(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The csv to write; must not exist yet.")],
    samples: Annotated[
        int, typer.Option(min=0, help="Completions behind the spread of each probability; 0: none is told.")
    ] = 20,
    method: Annotated[str, typer.Option(help="Which of the run's methods; default: what it was about.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the completions.")] = 0,
    device: DeviceOption = "auto",
    resample: ResampleOption = False,
    keep_unknown: KeepUnknownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify completed windows: a probability for each label, and how far it hangs on what is missing.

    Columns: record, window (from 0; a long file has several), each label, `<label> spread` (standard
    deviation over completions), and `lacks`: the modalities of which the window has no sample. What cannot
    be used is named at the end, and the exit code is then 1.

    Example: condi predict --model runs/demo --data /srv/condi/north --out predictions.csv
    """
    with one_sentence_errors(WeightsFileError, ConfigError), progress_bars() as progress:
        require_absent(out)
        learned = open_run(model, data, device)
        grid = WindowGrid.of(learned.schema.model_dump(), resample=resample, keep_unknown=keep_unknown)
        skipped: list[str] = []
        if is_partition(data):
            windows = _of_partition(learned, data, progress)
        else:
            windows = _of_files(grid, data, skipped, progress)
        count = _write(out, learned, _rows(learned, windows, samples, method, seed))
        if not count:
            out.unlink()
    if as_json:
        typer.echo(json.dumps({"windows": count, "out": str(out) if count else "", "skipped": skipped}))
    else:
        for sentence in skipped:
            typer.echo(f"skipped: {sentence}", err=True)
        typer.echo(f"classified {count} windows, skipped {len(skipped)} files: {out if count else 'no csv'}")
    if skipped:
        raise typer.Exit(1)


# A record, the number of its window, the window (modality, patch, sample) with NaN where not observed.
Window = tuple[str, int, np.ndarray]


def _of_partition(model: TrainedRun, data: Path, progress: ProgressCallback) -> Iterator[Window]:
    partition = open_compatible_partition(model, data)
    for start in range(0, len(partition), WINDOWS_PER_BLOCK):
        progress("windows", start, len(partition))
        rows = np.arange(start, min(start + WINDOWS_PER_BLOCK, len(partition)))
        values, observed = partition.read(rows)
        for row, window in zip(rows, np.where(observed, values, np.nan), strict=True):
            yield str(partition.record_ids[row]), 0, window


def _of_files(
    grid: WindowGrid, data: Path, skipped: list[str], progress: ProgressCallback
) -> Iterator[Window]:
    files = find_recordings(data)
    root = data if data.is_dir() else files[0].parent
    for number, file in enumerate(files):
        progress("files", number, len(files))
        try:
            windows = grid.windows(format_of(file).read(file))
        except (DataError, OSError) as error:
            skipped.append(str(error))
            continue
        for place, window in enumerate(windows):
            yield str(file.relative_to(root).with_suffix("")), place, window


def _rows(
    model: TrainedRun, windows: Iterator[Window], samples: int, method: str, seed: int
) -> Iterator[list[object]]:
    """Rows of the csv, classified some windows at a time."""
    names, waiting = model.schema.names, []

    def classified() -> Iterator[list[object]]:
        found = model.predict(np.stack([w for *_, w in waiting]), None, samples, seed, method)
        for (record, place, window), p, spread in zip(
            waiting, found.probabilities, found.spread, strict=True
        ):
            lacks = [name for name, own in zip(names, window, strict=True) if np.isnan(own).all()]
            told = ["" if np.isnan(x) else f"{x:.6f}" for x in spread]
            yield [record, place, *(f"{x:.6f}" for x in p), *told, " ".join(lacks)]

    for window in windows:
        waiting.append(window)
        if len(waiting) == WINDOWS_PER_BLOCK:
            yield from classified()
            waiting.clear()
    if waiting:
        yield from classified()


def _write(out: Path, model: TrainedRun, rows: Iterator[list[object]]) -> int:
    """Write the csv as a whole; the number of its rows."""
    labels, count = model.schema.labels, 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["record", "window", *labels, *(f"{label} spread" for label in labels), "lacks"])
        for row in rows:
            table.writerow(row)
            count += 1
        text.detach()  # flushed, and the file left open
    return count
