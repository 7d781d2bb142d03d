"""Predictions for the windows and the recordings of a site's partition or native files, as csv files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from client_app.inference.notes import Notes
from client_app.inference.opening import covariates_of_model, open_compatible_partition
from client_app.inference.prediction_tables import PredictionTables, WindowPrediction, recordings_file
from client_app.inference.recording_reader import RecordingReader, explain_failure
from client_app.inference.recording_windows import PatchReader
from client_app.inference.site_data import SitePartition
from client_app.inference.site_files import find_site_files
from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions.preparation_log import ProgressCallback
from data_partitions.sentences import count_noun, list_some


class RecordWindow(NamedTuple):
    """A window of a record; `values` are `(modality, patch, sample)`, NaN where not observed.

    `covariates` are those of the model, NaN where not recorded.
    """

    record: str
    recording: str
    position: int
    values: np.ndarray
    covariates: np.ndarray


@dataclass
class PredictSummary:
    """What a call of `condi predict` did; `out` has the paths of both tables, or none."""

    windows: int
    recordings: int
    out: list[str]
    skipped: list[str]  # why files could not be used, a sentence each
    notes: list[str]  # what was unusual in files that were used

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, notes only where there are any."""
        windows_path, recordings_path = self.out or ("", "")
        notes = {"notes": self.notes} if self.notes else {}
        return {
            "windows": self.windows,
            "recordings": self.recordings,
            "out": windows_path,
            "out_recordings": recordings_path,
            "skipped": self.skipped,
            **notes,
        }

    def sentence(self) -> str:
        """Say what was done, such as "predicted 1 window of 1 recording, skipped 0 files: p.csv"."""
        written = ", ".join(self.out) or "no csv file was written"
        return (
            f"predicted {count_noun(self.windows, 'window')} of {count_noun(self.recordings, 'recording')}, "
            f"skipped {count_noun(len(self.skipped), 'file')}: {written}"
        )


def predict_to_csv(
    model: TrainedRun,
    source: SitePartition | RecordingReader,
    data: Path,
    out: Path,
    samples: int,
    method: str,
    seed: int,
    progress: ProgressCallback,
) -> PredictSummary:
    """Predict all windows of a partition or of native files, into tables of windows and of recordings.

    `samples` completions give the spread of each prediction; `method` "" is the run's setting `method`. There
    are no tables without any window. DataError when one exists or there is nothing to read, WeightsFileError
    when the run has no such task model.
    """
    model.find_classifier(method)
    notes = Notes()
    with PredictionTables(out, model.schema) as tables:
        predictor = _Predictor(model, tables, samples, method, seed)
        if isinstance(source, RecordingReader):
            predictor.predict_files(data, source, notes, progress)
        else:
            predictor.skipped += source.skipped
            predictor.predict_partition(source.path, progress)
    lines = notes.lines() if isinstance(source, RecordingReader) else source.notes
    paths = [str(path) for path in (out, recordings_file(out)) if tables.num_windows]
    return PredictSummary(tables.num_windows, tables.num_recordings, paths, predictor.skipped, lines)


class _Predictor:
    """Predicts windows a block at a time, and writes those of a file when all of it could be read."""

    def __init__(
        self, model: TrainedRun, tables: PredictionTables, samples: int, method: str, seed: int
    ) -> None:
        self.model = model
        self.tables = tables
        self.samples = samples
        self.method = method
        self.seed = seed
        self.skipped: list[str] = []
        self._reads_covariates = model.find_classifier(method).task.covariate_head is not None
        self._covariates: Mapping[tuple[Path, str], np.ndarray] = {}
        self._waiting: list[RecordWindow] = []
        self._predicted: list[WindowPrediction] = []

    def predict_partition(self, data: Path, progress: ProgressCallback) -> None:
        """Predict all windows of a partition."""
        partition = open_compatible_partition(self.model, data)
        covariates = covariates_of_model(self.model.schema, partition)
        positions: dict[str, int] = {}
        for start in range(0, len(partition), WINDOWS_PER_BLOCK):
            progress("windows", start, len(partition))
            rows = np.arange(start, min(start + WINDOWS_PER_BLOCK, len(partition)))
            values, observed = partition.read(rows)
            for row, window in zip(rows, np.where(observed, values, np.nan), strict=True):
                recording = str(partition.recording_ids[row])
                positions[recording] = positions.get(recording, -1) + 1
                record = str(partition.record_ids[row])
                self._waiting.append(
                    RecordWindow(record, recording, positions[recording], window, covariates[row])
                )
            self._predict_waiting()
            self._write()

    def predict_files(
        self, data: Path, reader: RecordingReader, notes: Notes, progress: ProgressCallback
    ) -> None:
        """Predict all windows of native files; a file that cannot be read to its end has no rows."""
        site_files = find_site_files(data, reader.pattern)
        self._covariates = reader.read_covariates() if self._reads_covariates else {}
        for number, file in enumerate(site_files.files):
            name = site_files.names[file]
            records: list[str] = []
            try:
                parts = reader.list_records(file)
                for part in parts:
                    done = number + len(records) / len(parts)
                    records.append(record := f"{name}/{part}" if part else name)
                    for window, fraction in self._read_windows(file, part, record, reader, notes):
                        self._waiting.append(window)
                        if len(self._waiting) == WINDOWS_PER_BLOCK:
                            self._predict_waiting()
                        progress("files", done + fraction / len(parts), len(site_files.files))
            except Exception as error:  # whatever one file does, the others are predicted
                self.skipped.append(explain_failure(file, error))
                self._forget(records)
            self._write()
        self._predict_waiting()
        self._write()

    def _read_windows(
        self, file: Path, part: str, record: str, reader: RecordingReader, notes: Notes
    ) -> Iterator[tuple[RecordWindow, float]]:
        """Yield the windows of a recording, each with the fraction of its windows that come before."""
        opened = reader.open(file, part)
        patches = PatchReader(opened.match, self.model.schema)
        not_recorded = np.full(len(self.model.schema.covariates), np.nan, np.float32)
        covariates = self._covariates.get((file, part), not_recorded)
        starts = reader.window_starts(opened, part)
        for position, start in enumerate(starts):
            values = patches.read(float(start), self.model.schema.patches)
            yield RecordWindow(record, record, position, values, covariates), position / len(starts)
        opened.require_plausible_values(patches.observed)
        notes.add(file, opened.notes)
        missing = np.flatnonzero(np.isnan(covariates))
        if len(missing) and self._reads_covariates:
            names = list_some(self.model.schema.covariates[i].name for i in missing)
            notes.add(file, [f"the model also reads {names}, of which nothing is recorded"])

    def _predict_waiting(self) -> None:
        """Predict the windows that wait."""
        if not self._waiting:
            return
        values = np.stack([window.values for window in self._waiting])
        covariates = np.stack([window.covariates for window in self._waiting])
        prediction = self.model.predict(
            values, None, self.samples, self.seed, self.method, covariates=covariates
        )
        for number, window in enumerate(self._waiting):
            missing = np.isnan(window.values).all((1, 2))
            self._predicted.append(
                WindowPrediction(
                    window.record,
                    window.recording,
                    window.position,
                    prediction.values[number],
                    prediction.draws[:, number],
                    missing,
                )
            )
        self._waiting.clear()

    def _forget(self, records: Collection[str]) -> None:
        """Leave out all windows of some records."""
        self._waiting = [window for window in self._waiting if window.record not in records]
        self._predicted = [window for window in self._predicted if window.record not in records]

    def _write(self) -> None:
        self.tables.add(self._predicted)
        self._predicted.clear()
