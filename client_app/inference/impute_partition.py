"""A partition completed into a partition, some windows at a time; interrupted, it goes on from there."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from client_app.inference.impute_files import QUANTILE_LEVELS
from condi_core.model import TrainedRun
from condi_core.windows import WINDOWS_PER_BLOCK
from data_partitions import DataError
from data_partitions.manifest import Modality
from data_partitions.partition import Partition
from data_partitions.preparation_log import ProgressCallback
from data_partitions.storage import atomic_write, require_absent

FLOAT, BOOL = "<f4", "|b1"


def impute_partition(
    model: TrainedRun, data: Path, out: Path, samples: int, seed: int, progress: ProgressCallback
) -> dict:
    """Write `out`: a partition with nothing missing, `imputed/` (which samples are) and `quantiles/`.

    Raises DataError when `out` exists, or what is there of it is of another model, partition or settings.
    """
    require_absent(out)
    partition = open_compatible_partition(model, data)
    made_from = {
        "partition": partition.fingerprint(),
        "imputer sha256": model.hash,
        "samples": samples,
        "seed": seed,
    }
    partial = out.with_name(f".{out.name}.partial")
    done = _begin(partial, made_from)
    levels = QUANTILE_LEVELS if samples else ()
    files = _Files(partial, partition, done, levels)
    with files:
        for start in range(done, len(partition), WINDOWS_PER_BLOCK):
            progress("windows", start, len(partition))
            rows = np.arange(start, min(start + WINDOWS_PER_BLOCK, len(partition)))
            values, observed = partition.read(rows)
            found = model.impute(values, observed, samples, seed)
            files.append([found.point, *(found.quantiles(levels) if levels else ())], ~observed)
            _note(partial, made_from, int(rows[-1]) + 1)
    _finish(partial, partition, made_from)
    os.rename(partial, out)
    (out / "progress.json").unlink()
    return {"what": "windows", "done": len(partition) - done, "before": done, "skipped": []}


def open_compatible_partition(model: TrainedRun, data: Path) -> Partition:
    """The partition there; DataError when it is not one that the model can read."""
    partition = Partition.open(data, check=False)
    partition.require_measured()
    mine, its = model.schema.model_dump(mode="json"), partition.manifest.schema()
    different = [key for key in ("modalities", "patch_seconds", "patches") if mine[key] != its[key]]
    if different:
        schema = model.schema
        known = ", ".join(f"{m.name} ({m.unit}, {m.samples_per_patch} a patch)" for m in schema.modalities)
        raise DataError(
            f"{data} has other {', '.join(different)} than the model, which reads {schema.patches} patches "
            f"of {schema.patch_seconds:g} s of {known}"
        )
    return partition


class _Files:
    """The arrays on their way, one for each modality and kind, cut back to what is known to be whole."""

    def __init__(self, folder: Path, partition: Partition, done: int, levels: tuple[float, ...]) -> None:
        self.modalities, self.patches = partition.manifest.modalities, partition.manifest.patches
        self.rows, self.done = len(partition), done
        quantiles = [folder / "quantiles" / f"q{round(100 * level):02d}" for level in levels]
        self.values, self.imputed = [folder / "values", *quantiles], folder / "imputed"

    def __enter__(self) -> _Files:
        self.open = {
            (place, m.name): self._file(place / f"{m.name}.npy", m, BOOL if place == self.imputed else FLOAT)
            for place in (*self.values, self.imputed)
            for m in self.modalities
        }
        return self

    def __exit__(self, *_) -> None:
        for file in self.open.values():
            file.close()

    def _file(self, path: Path, m: Modality, kind: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "r+b" if path.exists() else "w+b")
        shape = (self.rows, self.patches, m.samples_per_patch)
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
        end = file.tell() + self.done * int(np.prod(shape[1:])) * np.dtype(kind).itemsize
        file.flush()
        if os.fstat(file.fileno()).st_size < end:
            raise DataError(f"{path} is shorter than what had been written of it: remove {path.parents[1]}")
        file.seek(end)
        file.truncate()
        return file

    def append(self, completed: list[np.ndarray], imputed: np.ndarray) -> None:
        """Add windows `(window, modality, patch, sample)`; what is written here is on the disk."""
        for place, array, kind in [
            *((place, array, FLOAT) for place, array in zip(self.values, completed, strict=True)),
            (self.imputed, imputed, BOOL),
        ]:
            for i, m in enumerate(self.modalities):
                part = np.ascontiguousarray(array[:, i, :, : m.samples_per_patch], kind)
                self.open[place, m.name].write(part.tobytes())
        for file in self.open.values():
            file.flush()
            os.fsync(file.fileno())


def _begin(partial: Path, made_from: dict) -> int:
    """Windows that an interrupted call has completed."""
    try:
        told = json.loads((partial / "progress.json").read_text())
        before, done = told["made from"], int(told["windows"])
    except FileNotFoundError:
        shutil.rmtree(partial, ignore_errors=True)  # of a call that was stopped before its first windows
        partial.mkdir(parents=True)
        return 0
    except (ValueError, KeyError, TypeError):
        before, done = {}, 0
    if before != made_from:
        raise DataError(f"{partial} was begun with another model, partition or settings: remove it first")
    return done


def _note(partial: Path, made_from: dict, windows: int) -> None:
    with atomic_write(partial / "progress.json") as file:
        file.write(json.dumps({"made from": made_from, "windows": windows}).encode())


def _finish(partial: Path, partition: Partition, made_from: dict) -> None:
    """What makes a partition of the arrays."""
    manifest = partition.manifest
    told = {
        "input": str(partition.path),
        **made_from,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "condi": version("condi"),
        "imputed samples": "imputed/<modality>.npy, bool (window, patch, sample)",
    }
    (partial / "provenance.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    whole = manifest.model_copy(
        update={
            "modalities": tuple(m.model_copy(update={"present": True}) for m in manifest.modalities),
            "made_by": f"{manifest.made_by}; completed by imputer {made_from['imputer sha256'][:12]}",
        }
    )
    shutil.copyfile(partition.path / "windows.csv", partial / "windows.csv")
    (partial / "manifest.json").write_text(whole.model_dump_json(indent=2) + "\n", encoding="utf-8")
