"""Several partitions read as one, for centralised training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data_partitions.file_hashes import FileHashes
from data_partitions.manifest import SPLITS, Manifest, Split
from data_partitions.partition import Partition


def pooled_manifest(manifests: Sequence[Manifest], name: str) -> Manifest:
    """Combine manifests of one schema: all windows, and the modalities that any of the sites has.

    Parameters
    ----------
    manifests
        Manifests of the sites; the first one provides the fields that they share.
    name
        Name of the pool as a site.
    """
    present = [
        any(m.present for m in same_modality)
        for same_modality in zip(*(manifest.modalities for manifest in manifests), strict=True)
    ]
    modalities = [
        m.model_copy(update={"present": p}) for m, p in zip(manifests[0].modalities, present, strict=True)
    ]
    windows = {split: sum(manifest.windows[split] for manifest in manifests) for split in SPLITS}
    return manifests[0].model_copy(update={"site": name, "modalities": tuple(modalities), "windows": windows})


@dataclass(frozen=True, eq=False)
class Pool:
    """A `WindowStore` over several partitions of one schema.

    Rows are those of the first partition, then those of the second, and so on. `manifest_for_row` returns the
    manifest of the site that a window is from, because the simulated missingness depends on the site.
    """

    parts: tuple[Partition, ...]
    name: str

    @cached_property
    def manifest(self) -> Manifest:
        return pooled_manifest([part.manifest for part in self.parts], self.name)

    @cached_property
    def record_ids(self) -> np.ndarray:
        return np.concatenate([part.record_ids for part in self.parts])

    @cached_property
    def patient_ids(self) -> np.ndarray:
        return np.concatenate([part.patient_ids for part in self.parts])

    @cached_property
    def splits(self) -> np.ndarray:
        return np.concatenate([part.splits for part in self.parts])

    @cached_property
    def recording_ids(self) -> np.ndarray:
        return np.concatenate([part.recording_ids for part in self.parts])

    @cached_property
    def covariates(self) -> np.ndarray:
        return np.concatenate([part.covariates for part in self.parts])

    @cached_property
    def labels(self) -> np.ndarray:
        return np.concatenate([part.labels for part in self.parts])

    @cached_property
    def _first_rows(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def rows(self, split: Split) -> np.ndarray:
        """Return the rows (int) of the windows of a split."""
        parts = zip(self.parts, self._first_rows[:-1], strict=True)
        return np.concatenate([part.rows(split) + first for part, first in parts])

    def manifest_for_row(self, row: int) -> Manifest:
        """Return the manifest of the site that a window is from."""
        return self.parts[int(np.searchsorted(self._first_rows, row, side="right")) - 1].manifest

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read values and masks of some windows; see `Partition.read`."""
        rows = np.asarray(rows, np.intp)
        values = np.zeros((len(rows), *self.manifest.shape), np.float32)
        observed = np.zeros(values.shape, bool)
        for part, first in zip(self.parts, self._first_rows[:-1], strict=True):
            in_part = (rows >= first) & (rows < first + len(part))
            values[in_part], observed[in_part] = part.read(rows[in_part] - first)
        return values, observed

    @property
    def paths(self) -> tuple[Path, ...]:
        """Directories of the partitions."""
        return tuple(part.path for part in self.parts)

    def fingerprint(self, hashes: FileHashes | None = None) -> str:
        """Return a sha256 of the content; see `Partition.fingerprint`."""
        fingerprints = [part.fingerprint(hashes) for part in self.parts]
        return hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()
