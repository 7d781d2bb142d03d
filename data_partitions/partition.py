"""The store of one site: a manifest, one array per modality, one row per window.

    site/
      manifest.json        what is in here (`Manifest`)
      windows.csv          record_id, patient_id, split, one 0/1 column per label
      values/<modality>.npy  float32 (window, patch, samples_per_patch), source units, NaN = not observed

A modality that the site lacks is in the manifest with `present: false` and has no file. Rows are
counted from 0 and are the same in `windows.csv` and in the arrays.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.manifest import SPLITS, Manifest, Modality
from data_partitions.storage import atomic_directory, read_json

BLOCK_BYTES = 16 * 2**20


class EmptyPartition(DataError):
    """A site of which no record could be used."""


def write_partition(
    path: str | Path, manifest: Manifest, index: pd.DataFrame, windows: Iterable[np.ndarray | None]
) -> None:
    """Write the partition of one site; it appears at `path` whole or not at all.

    `index` has record_id, patient_id, split and one 0/1 column per label (other columns are not stored).
    `windows` yields, in the order of `index`, arrays (modality, patch, max samples per patch) in the
    units of the manifest, NaN where not observed; what exceeds a modality's samples per patch is ignored.
    None leaves a record out: its row is not stored and not counted.

    Raises DataError when `path` exists, when index and manifest disagree, and when the windows are too
    few, too many, of another shape or infinite; EmptyPartition when all are left out.
    """
    table = _as_text(index, manifest)
    _check_table(table, manifest, "the index")
    with atomic_directory(path) as temp, ExitStack() as files:
        (temp / "values").mkdir()
        present = [(i, m) for i, m in enumerate(manifest.modalities) if m.present]
        outputs = [files.enter_context(open(_values_file(temp, m.name), "wb")) for _, m in present]

        def write_headers(rows: int) -> None:
            for (_, m), file in zip(present, outputs, strict=True):
                file.seek(0)
                shape = (rows, manifest.patches, m.samples_per_patch)
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)

        write_headers(len(table))
        count, kept = 0, np.zeros(len(table), bool)
        # Plain writes rather than a memory map: a full disk is then an error, not a killed process.
        for window in windows:
            if count == len(table):
                raise DataError(f"more windows came than the {len(table)} rows of the index")
            count += 1
            if window is None:
                continue
            kept[count - 1] = True
            record = table["record_id"].iloc[count - 1]
            window = np.asarray(window, dtype="<f4")
            if window.shape != manifest.shape:
                raise DataError(f"record {record}: expected {manifest.shape} values, got {window.shape}")
            infinite = np.isinf(window).any()
            for (i, m), file in zip(present, outputs, strict=True):
                samples = window[i, :, : m.samples_per_patch]
                if infinite and np.isinf(samples).any():
                    raise DataError(
                        f"record {record}: {m.name} has an infinite value: give NaN where unobserved"
                    )
                file.write(samples.tobytes())
        if count < len(table):
            raise DataError(f"only {count} windows came for the {len(table)} rows of the index")
        if not kept.all():
            table = table[kept]
            if table.empty:
                raise EmptyPartition(f'none of the records of site "{manifest.site}" can be used')
            counts = {split: int((table["split"] == split).sum()) for split in SPLITS}
            manifest = manifest.model_copy(update={"windows": counts})
            write_headers(len(table))  # as long as before: numpy leaves room for the number of rows
        table.to_csv(temp / "windows.csv", index=False, lineterminator="\n")
        (temp / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, eq=False)
class Partition:
    """One site's windows, memory-mapped. Open it with `Partition.open`."""

    path: Path
    manifest: Manifest
    record_ids: np.ndarray  # (window,) str
    patient_ids: np.ndarray  # (window,) str
    splits: np.ndarray  # (window,) str
    labels: np.ndarray  # (window, label) float32, 0 or 1
    _arrays: dict[str, np.ndarray]

    @classmethod
    def open(cls, path: str | Path, check: bool = True) -> "Partition":
        """Open and validate; with `check` the values are read through once as well (see `check`).

        Raises DataError that names the file, and the row where there is one.
        """
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"there is no partition at {path}: make one with `condi prepare`")
        try:
            manifest = read_json(path / "manifest.json", Manifest)
        except FileNotFoundError:
            if (path / "federation.json").exists():
                raise DataError(f"{path} is a federation, not one site: open a site in it") from None
            raise DataError(f"{path} has no manifest.json: give the directory of a site") from None
        table = _read_table(path / "windows.csv")
        _check_table(table, manifest, str(path / "windows.csv"))
        partition = cls(
            path=path,
            manifest=manifest,
            record_ids=table["record_id"].to_numpy(dtype=str),
            patient_ids=table["patient_id"].to_numpy(dtype=str),
            splits=table["split"].to_numpy(dtype=str),
            labels=table[list(manifest.labels)].to_numpy(dtype=np.float32),
            _arrays={
                m.name: _map_values(path, m, manifest, len(table)) for m in manifest.modalities if m.present
            },
        )
        if check:
            partition.check()
        return partition

    def require_measured(self) -> None:
        """Raise DataError when it was made by `condi impute`: what is imputed would pass for measured."""
        if (self.path / "imputed").exists():
            raise DataError(
                f"{self.path} is a partition that was completed, in which imputed samples would count as "
                "measured: give the one it was made from"
            )

    def check(self) -> None:
        """Read through the values, a block at a time; DataError when one is infinite."""
        for name, array in self._arrays.items():
            step = max(1, BLOCK_BYTES // array[0].nbytes)
            for start in range(0, len(array), step):
                infinite = np.isinf(array[start : start + step]).any(axis=(1, 2))
                if infinite.any():
                    row = start + int(infinite.argmax())
                    raise DataError(
                        f"{_values_file(self.path, name)}: row {row} (record {self.record_ids[row]}) has an "
                        "infinite value where a number or NaN is expected: prepare the partition anew"
                    )

    def missing(self) -> dict[str, tuple[int, int, int, int]]:
        """Per present modality: samples, those not observed, windows, and those without any. Reads all."""
        counts = {}
        for name, array in self._arrays.items():
            step = max(1, BLOCK_BYTES // array[0].nbytes)
            per_window = np.concatenate(
                [np.isnan(array[i : i + step]).sum(axis=(1, 2)) for i in range(0, len(array), step)]
            )
            whole = array[0].size
            counts[name] = (array.size, int(per_window.sum()), len(array), int((per_window == whole).sum()))
        return counts

    def __len__(self) -> int:
        return len(self.record_ids)

    def rows(self, split: str) -> np.ndarray:
        """Rows (int) of the windows of "train", "val" or "test"."""
        if split not in SPLITS:
            raise DataError(f'split "{split}" is unknown: ask for train, val or test')
        return np.flatnonzero(self.splits == split)

    def manifest_for_row(self, row: int) -> Manifest:
        """What the site of a window says of itself."""
        return self.manifest

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (float32) and observed (bool), both (window, modality, patch, sample), of some rows.

        Values are in the source's units, 0 where not observed. Padding of modalities with fewer samples
        per patch, and modalities the site lacks, are not observed.
        """
        rows = np.asarray(rows, dtype=np.intp)
        values = np.zeros((len(rows), *self.manifest.shape), np.float32)
        observed = np.zeros(values.shape, bool)
        for i, m in enumerate(self.manifest.modalities):
            if m.present:
                block = self._arrays[m.name][rows]
                seen = ~np.isnan(block)
                observed[:, i, :, : m.samples_per_patch] = seen
                values[:, i, :, : m.samples_per_patch] = np.where(seen, block, 0)
        return values, observed

    def fingerprint(self) -> str:
        """A sha256 that changes when the partition is prepared anew from other data.

        Cheap enough for a cache key: of each value file it sees the size and the first and last MiB.
        """
        digest = hashlib.sha256()
        for name in ("manifest.json", "windows.csv"):
            content = (self.path / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
        for name in self._arrays:
            with open(_values_file(self.path, name), "rb") as file:
                size = file.seek(0, 2)
                digest.update(f"{name} {size}\n".encode())
                for start in (0, max(0, size - 2**20)):
                    file.seek(start)
                    digest.update(file.read(2**20))
        return digest.hexdigest()


def _values_file(path: Path, modality: str) -> Path:
    return path / "values" / f"{modality}.npy"


def _as_text(index: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The columns of `windows.csv`, as the text that it will contain."""
    labels = [label for label in manifest.labels if label in index]
    ids = [name for name in ("record_id", "patient_id", "split") if name in index]
    table = index[ids + labels].reset_index(drop=True)
    table[labels] = table[labels].map(lambda value: str(int(value)) if value in (0, 1) else str(value))
    return table.astype(str)


def _read_table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{file.parent} has no {file.name}: prepare the partition anew") from None
    except ValueError as error:  # pandas' parser errors are ValueErrors
        message = " ".join(str(error).split())
        raise DataError(f"{file} is not a readable csv ({message}): prepare the partition anew") from None


def _check_table(table: pd.DataFrame, manifest: Manifest, where: str) -> None:
    """DataError unless the table of windows (all text) is what the manifest says."""
    labels = list(manifest.labels)
    missing = [name for name in ("record_id", "patient_id", "split", *labels) if name not in table]
    if missing:
        raise DataError(f"{where} lacks the column {', '.join(missing)}: it has {', '.join(table.columns)}")
    if table.empty:
        raise DataError(f'{where} has no rows: site "{manifest.site}" would have no windows')

    def refuse(bad: pd.Series, what: str) -> None:
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise DataError(f"{where}: row {row} (record {table['record_id'].iloc[row]}) {what}")

    refuse(table["record_id"].isin([""]) | table["record_id"].isna(), "has no record_id")
    refuse(table["record_id"].duplicated(), "has a record_id that an earlier row has: each must be unique")
    refuse(table["patient_id"].isin([""]) | table["patient_id"].isna(), "has no patient_id")
    refuse(~table["split"].isin(SPLITS), "has another split than train, val or test")
    for label in labels:
        refuse(~table[label].isin(["0", "1"]), f"has a value of label {label} that is not 0 or 1")
    if manifest.task == "single-label":
        ones = (table[labels] == "1").sum(axis=1)
        refuse(ones != 1, "must have exactly one label, as the task is single-label")
    splits = table.groupby("patient_id")["split"].transform("nunique")
    refuse(splits > 1, "belongs to a patient who is in two splits: keep each patient in one")
    counts = {split: int((table["split"] == split).sum()) for split in SPLITS}
    if counts != manifest.windows:
        raise DataError(f"{where} has windows {counts}, but the manifest says {manifest.windows}")


def _map_values(path: Path, m: Modality, manifest: Manifest, rows: int) -> np.ndarray:
    file = _values_file(path, m.name)
    expected = (rows, manifest.patches, m.samples_per_patch)
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{file} is missing, but the manifest says that {m.name} is present") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{file} is damaged ({error}): prepare the partition anew") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise DataError(f"{file} must hold float32, it holds {getattr(array, 'dtype', type(array).__name__)}")
    if array.shape != expected:
        raise DataError(f"{file} must have shape {expected} (window, patch, sample), it has {array.shape}")
    return array
