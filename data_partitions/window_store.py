"""The interface of a store of windows: the partition of one site, or a pool of several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data_partitions.file_hashes import FileHashes
from data_partitions.manifest import Manifest, Split


class WindowStore(Protocol):
    """Windows by row, with ids, splits and labels. `Partition` and `Pool` are such stores."""

    @property
    def manifest(self) -> Manifest:
        """What the store holds."""

    @property
    def record_ids(self) -> np.ndarray:
        """Id of each window within its site: str, `(window,)`."""

    @property
    def patient_ids(self) -> np.ndarray:
        """Id of each window's patient: str, `(window,)`."""

    @property
    def splits(self) -> np.ndarray:
        """Split of each window: str, `(window,)`."""

    @property
    def labels(self) -> np.ndarray:
        """Labels: float32 `(window, label)`, NaN for windows without labels; see `Partition`."""

    @property
    def recording_ids(self) -> np.ndarray:
        """Id of the recording of each window: str, `(window,)`."""

    @property
    def covariates(self) -> np.ndarray:
        """Covariates: float32 `(window, covariate)`, NaN where not recorded; see `Partition`."""

    def __len__(self) -> int:
        """Return the number of windows."""

    def rows(self, split: Split) -> np.ndarray:
        """Return the rows (int) of the windows of a split."""

    def manifest_for_row(self, row: int) -> Manifest:
        """Return the manifest of the site that a window is from."""

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read values and masks of some windows; see `Partition.read`."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Directories of the partitions."""

    def fingerprint(self, hashes: FileHashes | None = None) -> str:
        """Return a sha256 of the content; see `Partition.fingerprint`."""


def labelled_rows(store: WindowStore, split: Split) -> np.ndarray:
    """Return the rows (int) of the windows of a split that have labels; none where the data have no task."""
    rows = store.rows(split)
    labels = store.labels[rows]
    return rows[np.isfinite(labels).all(axis=1)] if labels.shape[1] else rows[:0]
