"""The store of one site: a manifest, one array per modality, one row per window.

    site/
      manifest.json          what the partition holds (`Manifest`)
      windows.csv            record_id, patient_id, split, recording_id, one column per label and covariate
      values/<modality>.npy  float32 (window, patch, samples_per_patch), source units, NaN = not observed

A modality that the site does not have is in the manifest with `present: false` and has no file. Rows are
counted from 0 and are the same in `windows.csv` and in the arrays. A window without labels has empty cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.file_hashes import FileHashes
from data_partitions.layout import MANIFEST_FILE, require_partition
from data_partitions.manifest import SPLITS, Manifest, Split
from data_partitions.storage import atomic_directory, read_json
from data_partitions.values_files import map_values, read_blocks, values_file
from data_partitions.windows_table import (
    RECORDING_COLUMN,
    WINDOWS_FILE,
    check_windows_table,
    count_windows,
    make_windows_table,
    read_covariates,
    read_numbers,
    read_windows_table,
)

IMPUTED_FOLDER = "imputed"  # of a partition that `condi impute` completed: masks of its imputed samples


class EmptyPartitionError(DataError):
    """None of the records of a site can be used."""


def write_partition(
    path: str | Path, manifest: Manifest, index: pd.DataFrame, windows: Iterable[np.ndarray | None]
) -> None:
    """Write the partition of one site; it appears at `path` complete or not at all.

    Parameters
    ----------
    path
        Directory of the partition, which must not exist.
    manifest
        What the partition holds.
    index
        One row per window: record_id, patient_id, split, optionally recording_id, one column per label (0 and
        1, or the number of a regression; all NaN for a window without labels), and one column
        "covariate <name>" per covariate (a number, or the name of a category; NaN where it is not recorded).
        Other columns are not stored.
    windows
        For each row of the index, in its order, an array `(modality, patch, sample)` with `manifest.shape`,
        in the units of the manifest, NaN where not observed. What exceeds a modality's samples per patch is
        ignored. None excludes a record: its row is not stored and not counted.

    Raises
    ------
    EmptyPartitionError
        All records are excluded.
    DataError
        `path` exists, index and manifest disagree, or there are too few or too many windows, or one of
        another shape or with an infinite value.
    """
    table = make_windows_table(index, manifest)
    check_windows_table(table, manifest, "the index")
    records = table["record_id"].tolist()
    with atomic_directory(path) as temp, ExitStack() as files:
        (temp / "values").mkdir()
        present = [(i, m) for i, m in enumerate(manifest.modalities) if m.present]
        outputs = [files.enter_context(open(values_file(temp, m.name), "wb")) for _, m in present]

        def write_headers(rows: int) -> None:
            for (_, m), file in zip(present, outputs, strict=True):
                file.seek(0)
                shape = (rows, manifest.patches, m.samples_per_patch)
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)

        write_headers(len(table))
        count = 0
        used = np.zeros(len(table), bool)
        # With a memory map, a full disk would kill the process; with plain writes it raises an error.
        for window in windows:
            if count == len(table):
                raise DataError(f"more windows came than the {len(table)} rows of the index")
            count += 1
            if window is None:
                continue
            used[count - 1] = True
            record = records[count - 1]
            window = np.asarray(window, dtype="<f4")
            if window.shape != manifest.shape:
                raise DataError(f"record {record}: expected {manifest.shape} values, got {window.shape}")
            has_infinite = np.isinf(window).any()
            for (i, m), file in zip(present, outputs, strict=True):
                samples = window[i, :, : m.samples_per_patch]
                if has_infinite and np.isinf(samples).any():
                    raise DataError(
                        f"record {record}: {m.name} has an infinite value: give NaN where it is not observed"
                    )
                file.write(samples.tobytes())
        if count < len(table):
            raise DataError(f"only {count} windows came for the {len(table)} rows of the index")
        if not used.all():
            table = table[used]
            if table.empty:
                raise EmptyPartitionError(f'none of the records of site "{manifest.site}" can be used')
            manifest = manifest.model_copy(update={"windows": count_windows(table)})
            write_headers(len(table))  # of the same length: numpy reserves space for the number of rows
        table.to_csv(temp / WINDOWS_FILE, index=False, lineterminator="\n")
        (temp / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


class MissingCounts(NamedTuple):
    """How much of a modality is not observed at a site."""

    samples: int
    missing_samples: int
    windows: int
    empty_windows: int


@dataclass(frozen=True, eq=False)
class Partition:
    """The windows of one site, memory-mapped: a `WindowStore`. Open it with `Partition.open`.

    Parameters
    ----------
    path
        Directory of the partition.
    manifest
        What the partition holds.
    record_ids, patient_ids, splits, recording_ids
        Of each window: str, `(window,)`. A recording may have several windows.
    labels
        float32 `(window, label)`: 0 or 1, or a number in `manifest.label_unit`; NaN where a window has none.
    covariates
        float32 `(window, covariate)`: a number, or the position of a category; NaN where it is not recorded.
    """

    path: Path
    manifest: Manifest
    record_ids: np.ndarray
    patient_ids: np.ndarray
    splits: np.ndarray
    recording_ids: np.ndarray
    labels: np.ndarray
    covariates: np.ndarray
    _arrays: dict[str, np.ndarray]

    @classmethod
    def open(cls, path: str | Path, check: bool = True) -> Partition:
        """Open and validate a partition.

        Parameters
        ----------
        path
            Directory of the partition.
        check
            Also read all values once; see the method `check`.

        Raises
        ------
        DataError
            The directory is not a valid partition; the message names the file, and the row if there is one.
        """
        path = Path(path)
        require_partition(path)
        manifest = read_json(path / MANIFEST_FILE, Manifest)
        table = read_windows_table(path / WINDOWS_FILE)
        recording = RECORDING_COLUMN if RECORDING_COLUMN in table else "record_id"
        check_windows_table(table, manifest, str(path / WINDOWS_FILE))
        partition = cls(
            path=path,
            manifest=manifest,
            record_ids=table["record_id"].to_numpy(dtype=str),
            patient_ids=table["patient_id"].to_numpy(dtype=str),
            splits=table["split"].to_numpy(dtype=str),
            recording_ids=table[recording].to_numpy(dtype=str),
            labels=read_numbers(table[list(manifest.labels)]),
            covariates=read_covariates(table, manifest.covariates),
            _arrays={
                m.name: map_values(path, m, manifest, len(table)) for m in manifest.modalities if m.present
            },
        )
        if check:
            partition.check()
        return partition

    def require_measured(self) -> None:
        """Raise DataError if `condi impute` made the partition: imputed samples would count as measured."""
        if (self.path / IMPUTED_FOLDER).exists():
            raise DataError(
                f"{self.path} is a completed partition, in which imputed samples would count as measured: "
                "give the partition it was made from"
            )

    def check(self) -> None:
        """Read all values, a block at a time; DataError when one is infinite."""
        for name, array in self._arrays.items():
            for first, block in read_blocks(array):
                infinite = np.isinf(block).any(axis=(1, 2))
                if infinite.any():
                    row = first + int(infinite.argmax())
                    raise DataError(
                        f"{values_file(self.path, name)}: row {row} (record {self.record_ids[row]}) has an "
                        "infinite value where a number or NaN is expected: prepare the partition again"
                    )

    def missing_counts(self) -> dict[str, MissingCounts]:
        """Count what is not observed, by name of each present modality. Reads all values."""
        counts = {}
        for name, array in self._arrays.items():
            per_window = np.concatenate([np.isnan(block).sum(axis=(1, 2)) for _, block in read_blocks(array)])
            empty = int((per_window == array[0].size).sum())
            counts[name] = MissingCounts(array.size, int(per_window.sum()), len(array), empty)
        return counts

    def __len__(self) -> int:
        return len(self.record_ids)

    def rows(self, split: Split) -> np.ndarray:
        """Return the rows (int) of the windows of a split."""
        if split not in SPLITS:
            raise DataError(f'split "{split}" is unknown: choose train, val or test')
        return np.flatnonzero(self.splits == split)

    def manifest_for_row(self, row: int) -> Manifest:
        """Return the manifest of the site that a window is from, which here is always the same."""
        return self.manifest

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read some windows.

        Parameters
        ----------
        rows
            Rows of the windows, in any order.

        Returns
        -------
        values
            float32, `(window, modality, patch, sample)`, in the source's units, 0 where not observed.
        observed
            Bool, of the same shape: what was measured. Padding of modalities with fewer samples per patch,
            and modalities that the site does not have, are not observed.
        """
        rows = np.asarray(rows, dtype=np.intp)
        values = np.zeros((len(rows), *self.manifest.shape), np.float32)
        observed = np.zeros(values.shape, bool)
        for i, m in enumerate(self.manifest.modalities):
            if m.present:
                block = self._arrays[m.name][rows]
                measured = ~np.isnan(block)
                observed[:, i, :, : m.samples_per_patch] = measured
                values[:, i, :, : m.samples_per_patch] = np.where(measured, block, 0)
        return values, observed

    @property
    def paths(self) -> tuple[Path, ...]:
        """The directory of the partition, as the only one of this store."""
        return (self.path,)

    def fingerprint(self, hashes: FileHashes | None = None) -> str:
        """Return a sha256 of every byte that windows and labels are read from.

        Parameters
        ----------
        hashes
            Remembers the hashes of files; without it, all files are read.
        """
        hashes = hashes or FileHashes()
        files = [Path(name) for name in (MANIFEST_FILE, WINDOWS_FILE)]
        files += [values_file(Path(), name) for name in self._arrays]
        files += sorted(path.relative_to(self.path) for path in (self.path / IMPUTED_FOLDER).glob("*.npy"))
        lines = [f"{file.as_posix()} {hashes.sha256(self.path / file)}" for file in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
