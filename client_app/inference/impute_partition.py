"""Complete a partition into a partition, block by block, and resume after an interruption."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from client_app.inference.completed_output import (
    QUANTILE_LEVELS,
    ImputeSummary,
    provenance_json,
    quantile_folder,
)
from client_app.inference.opening import open_compatible_partition
from client_app.inference.suitability import describe_dropped
from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions import DataError
from data_partitions.manifest import Modality
from data_partitions.partition import IMPUTED_FOLDER, Partition
from data_partitions.preparation_log import ProgressCallback
from data_partitions.storage import (
    atomic_write,
    make_private_directory,
    private_opener,
    publish_directory,
    require_absent,
    reserve_output,
)

FLOAT_DTYPE = "<f4"
BOOL_DTYPE = "|b1"


def impute_partition(
    model: TrainedRun, data: Path, out: Path, samples: int, seed: int, progress: ProgressCallback
) -> ImputeSummary:
    """Write a partition with nothing missing, which must not exist.

    `imputed/` marks the imputed samples, and `quantiles/` holds the quantiles of `samples` draws. DataError
    when `out` exists or another process writes it, or an interrupted call left output of another model,
    partition or settings.
    """
    require_absent(out)
    with reserve_output(out):
        return _impute_partition(model, data, out, samples, seed, progress)


def _impute_partition(
    model: TrainedRun, data: Path, out: Path, samples: int, seed: int, progress: ProgressCallback
) -> ImputeSummary:
    partition = open_compatible_partition(model, data)
    made_from = {
        "partition": partition.fingerprint(),
        "imputer sha256": model.imputer_hash,
        "samples": samples,
        "seed": seed,
    }
    partial = out.with_name(f".{out.name}.partial")
    completed_before = _resume_or_start(partial, made_from)
    levels = QUANTILE_LEVELS if samples else ()
    dropped = np.zeros(len(model.schema.modalities), int)
    without_gaps = 0
    with _PartitionArrays(partial, partition, completed_before, levels) as arrays:
        for start in range(completed_before, len(partition), WINDOWS_PER_BLOCK):
            progress("windows", start, len(partition))
            rows = np.arange(start, min(start + WINDOWS_PER_BLOCK, len(partition)))
            values, observed = partition.read(rows)
            without_gaps += int(observed.all((1, 2, 3)).sum())
            imputed = model.impute(values, observed, samples, seed)
            dropped += imputed.dropped
            completed = [imputed.point, *(imputed.quantiles(levels) if levels else ())]
            # Measured values outside the plausible range were not used, and stay.
            arrays.append([np.where(observed, values, array) for array in completed], ~observed)
            _save_progress(partial, made_from, int(rows[-1]) + 1)
    _write_manifest(partial, partition, made_from)
    publish_directory(partial, out)
    (out / "progress.json").unlink()
    summary = ImputeSummary("windows", len(partition) - completed_before, completed_before, without_gaps)
    summary.notes = describe_dropped(model.schema, dropped)
    return summary


class _PartitionArrays:
    """The array files being written, by folder and modality; incomplete windows at their end are cut off."""

    def __init__(self, folder: Path, partition: Partition, completed: int, levels: tuple[float, ...]) -> None:
        self.folder = folder
        self.modalities = partition.manifest.modalities
        self.patches = partition.manifest.patches
        self.rows = len(partition)
        self.completed = completed
        self.value_folders = [folder / "values", *(quantile_folder(folder, level) for level in levels)]
        self.imputed_folder = folder / IMPUTED_FOLDER
        self.files: dict[tuple[Path, str], BinaryIO] = {}

    def __enter__(self) -> _PartitionArrays:
        for folder in (*self.value_folders, self.imputed_folder):
            dtype = BOOL_DTYPE if folder == self.imputed_folder else FLOAT_DTYPE
            for m in self.modalities:
                self.files[folder, m.name] = self._open(folder / f"{m.name}.npy", m, dtype)
        return self

    def __exit__(self, *_) -> None:
        for file in self.files.values():
            file.close()

    def _open(self, path: Path, m: Modality, dtype: str) -> BinaryIO:
        make_private_directory(path.parent)
        file = open(path, "r+b" if path.exists() else "w+b", opener=private_opener)
        shape = (self.rows, self.patches, m.samples_per_patch)
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        end = file.tell() + self.completed * int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
        file.flush()
        if os.fstat(file.fileno()).st_size < end:
            raise DataError(f"{path} is shorter than progress.json says: remove {self.folder}")
        file.seek(end)
        file.truncate()
        return file

    def append(self, completed: list[np.ndarray], imputed: np.ndarray) -> None:
        """Append windows `(window, modality, patch, sample)`, and flush them to disk.

        `completed` has the point estimates, and then the quantiles of each level.
        """
        for folder, array in zip(self.value_folders, completed, strict=True):
            self._append(folder, array, FLOAT_DTYPE)
        self._append(self.imputed_folder, imputed, BOOL_DTYPE)
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())

    def _append(self, folder: Path, array: np.ndarray, dtype: str) -> None:
        for i, m in enumerate(self.modalities):
            part = np.ascontiguousarray(array[:, i, :, : m.samples_per_patch], dtype)
            self.files[folder, m.name].write(part.tobytes())


def _resume_or_start(partial: Path, made_from: dict[str, Any]) -> int:
    """Return how many windows an interrupted call has completed; DataError when it was a different call."""
    try:
        saved = json.loads((partial / "progress.json").read_text())
        before, completed = saved["made from"], int(saved["windows"])
    except FileNotFoundError:
        shutil.rmtree(partial, ignore_errors=True)  # A call was stopped before its first windows.
        make_private_directory(partial)
        return 0
    except (ValueError, KeyError, TypeError):
        before, completed = {}, 0
    if before != made_from:
        raise DataError(f"{partial} was started with another model, partition or settings: remove it first")
    return completed


def _save_progress(partial: Path, made_from: dict[str, Any], windows: int) -> None:
    with atomic_write(partial / "progress.json") as file:
        file.write(json.dumps({"made from": made_from, "windows": windows}).encode())


def _write_manifest(partial: Path, partition: Partition, made_from: dict[str, Any]) -> None:
    """Write the manifest, windows.csv and the provenance, which turn the arrays into a partition."""
    manifest = partition.manifest
    details = {"imputed samples": "imputed/<modality>.npy, bool (window, patch, sample)"}
    provenance = provenance_json(partition.path, made_from, details)
    (partial / "provenance.json").write_text(provenance, encoding="utf-8")
    completed = manifest.model_copy(
        update={
            "modalities": tuple(m.model_copy(update={"present": True}) for m in manifest.modalities),
            "made_by": f"{manifest.made_by}; completed by imputer {made_from['imputer sha256'][:12]}",
        }
    )
    shutil.copyfile(partition.path / "windows.csv", partial / "windows.csv")
    (partial / "manifest.json").write_text(completed.model_dump_json(indent=2) + "\n", encoding="utf-8")
