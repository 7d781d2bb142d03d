"""Completion of native files, one by one; each output is written atomically, with a provenance file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from client_app.inference.completed_output import (
    QUANTILE_LEVELS,
    ImputeSummary,
    provenance_json,
    quantile_folder,
)
from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import Recording, WindowGrid, find_recordings, format_of
from data_partitions.storage import atomic_write


def impute_files(
    model: TrainedRun,
    data: Path,
    out: Path,
    samples: int,
    seed: int,
    grid: WindowGrid,
    progress: ProgressCallback,
) -> ImputeSummary:
    """Complete a file, or all files of a folder.

    Parameters
    ----------
    model : TrainedRun
    data : Path
        A file or a folder.
    out : Path
        Folder to write to, which must not be in the folder of the data.
    samples : int
        Draws for the quantiles; 0 for point estimates alone.
    seed : int
        Seed of the draws.
    grid : WindowGrid
        How recordings are cut into the model's windows.
    progress : callable

    Returns
    -------
    ImputeSummary
        Files that cannot be used are skipped, with the reason.

    Raises
    ------
    DataError
        When there is nothing to read, or `out` is in the folder of the data.
    """
    files = find_recordings(data)
    root = data if data.is_dir() else files[0].parent
    if out.resolve() == root.resolve() or (data.is_dir() and out.resolve().is_relative_to(root.resolve())):
        raise DataError(f"--out is in the folder of the data, {root}: choose one outside of it")
    summary = ImputeSummary("files")
    for number, file in enumerate(files):

        def file_progress(fraction: float, number: int = number) -> None:
            progress("files", number + fraction, len(files))

        try:
            folder = out / file.parent.relative_to(root)
            completion = _FileCompletion(model, grid, samples, seed, file, folder, out)
            if completion.complete(file_progress):
                summary.completed += 1
            else:
                summary.completed_before += 1
        except (DataError, OSError) as error:
            summary.skipped.append(str(error))
    return summary


class _FileCompletion:
    """Reads one file, completes it, and writes it with its provenance."""

    def __init__(
        self,
        model: TrainedRun,
        grid: WindowGrid,
        samples: int,
        seed: int,
        file: Path,
        folder: Path,
        out: Path,
    ) -> None:
        self.model = model
        self.grid = grid
        self.samples = samples
        self.seed = seed
        self.folder = folder
        self.out = out
        self.format = format_of(file)
        self.recording: Recording = self.format.read(file)
        self.provenance = folder / f"{file.name}.provenance.json"
        self.made_from: dict[str, Any] = {
            "input sha256": _hash_files(self.format.files(self.recording)),
            "imputer sha256": model.imputer_hash,
            "samples": samples,
            "seed": seed,
            "resampled": grid.resample,
        }

    def complete(self, progress: Callable[[float], None]) -> bool:
        """Complete the file; False if that was done before, DataError when another file has its name."""
        names = [file.name for file in self.format.files(self.recording)]
        levels = QUANTILE_LEVELS if self.samples else ()
        folders = [self.folder, *(self._quantile_folder(level) for level in levels)]
        targets = [folder / name for folder in folders for name in names]
        if self._is_up_to_date() and all(target.exists() for target in targets):
            return False
        windows = self.grid.cut_windows(self.recording)
        if not self._is_up_to_date() and (existing := [target for target in targets if target.exists()]):
            raise DataError(f"{existing[0]} exists and was not written by this command: choose another --out")
        outputs = self._complete_signals(windows, levels, progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.out, prefix=".partial-") as temp:
            for i, signals in enumerate(outputs):
                (Path(temp) / str(i)).mkdir()
                # The recording is read again, as writing it changes what was read.
                self.format.write(self.format.read(self.recording.file), signals, Path(temp) / str(i))
                for name in names:
                    _flush_to_disk(Path(temp) / str(i) / name)
            self._write_provenance(outputs[0])
            for i, folder in enumerate(folders):
                folder.mkdir(parents=True, exist_ok=True)
                for name in names:
                    os.replace(Path(temp) / str(i) / name, folder / name)
        return True

    def _complete_signals(
        self, windows: np.ndarray, levels: tuple[float, ...], progress: Callable[[float], None]
    ) -> list[list[np.ndarray]]:
        """Return the channels of the completed file, and those of each quantile."""
        outputs = np.repeat(windows[None], 1 + len(levels), 0)
        incomplete = np.flatnonzero((np.isnan(windows) & self.grid.valid_samples).any((1, 2, 3)))
        for start in range(0, len(incomplete), WINDOWS_PER_BLOCK):
            rows = incomplete[start : start + WINDOWS_PER_BLOCK]
            imputed = self.model.impute(windows[rows], samples=self.samples, seed=self.seed)
            outputs[0, rows] = imputed.point
            if levels:
                outputs[1:, rows] = imputed.quantiles(levels)
            progress((start + len(rows)) / len(incomplete))
        return [self.grid.fill_signals(self.recording, completed) for completed in outputs]

    def _quantile_folder(self, level: float) -> Path:
        return quantile_folder(self.out, level) / self.folder.relative_to(self.out)

    def _is_up_to_date(self) -> bool:
        """Whether the output was made from this input and imputer; DataError when it was made from others."""
        try:
            provenance = json.loads(self.provenance.read_text(encoding="utf-8"))
            before = {key: provenance[key] for key in self.made_from}
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{self.provenance} is damaged: remove it together with the file that it describes"
            ) from None
        if different := [key for key in self.made_from if before[key] != self.made_from[key]]:
            raise DataError(
                f"{self.provenance.parent / self.recording.file.name} exists and was made with another "
                f"{', '.join(different)}: choose another --out"
            )
        return True

    def _write_provenance(self, signals: list[np.ndarray]) -> None:
        imputed = {
            signal.name: _intervals(np.isnan(signal.samples) & ~np.isnan(samples))
            for signal, samples in zip(self.recording.signals, signals, strict=True)
        }
        details = {
            "modalities without any observed sample": self.grid.absent_modalities(self.recording),
            "imputed samples as [first, end)": {name: runs for name, runs in imputed.items() if runs},
        }
        with atomic_write(self.provenance, mode=0o644) as file:
            file.write(provenance_json(self.recording.file, self.made_from, details).encode())


def _flush_to_disk(path: Path) -> None:
    """Flush a file to disk, so that it is complete under its final name even after a power failure."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _intervals(mask: np.ndarray) -> list[list[int]]:
    """Return runs of True as [first, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return edges.reshape(-1, 2).tolist()


def _hash_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
