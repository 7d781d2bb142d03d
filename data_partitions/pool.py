"""Partitions read as one, for what is learned when all data are in one place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_partitions.manifest import SPLITS, Manifest
from data_partitions.partition import Partition


def pooled_manifest(manifests: Sequence[Manifest], name: str) -> Manifest:
    """What several sites say together: all their windows, and the modalities that any of them has."""
    present = [any(m.present for m in same) for same in zip(*(x.modalities for x in manifests), strict=True)]
    modalities = [
        m.model_copy(update={"present": p}) for m, p in zip(manifests[0].modalities, present, strict=True)
    ]
    windows = {split: sum(x.windows[split] for x in manifests) for split in SPLITS}
    return manifests[0].model_copy(update={"site": name, "modalities": tuple(modalities), "windows": windows})


@dataclass(frozen=True, eq=False)
class Pool:
    """Several partitions of one schema behind the interface of one; rows are those of the first, then the
    second's. A window keeps the site it is from (`manifest_for_row`), on which its simulated holes depend.
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
    def labels(self) -> np.ndarray:
        return np.concatenate([part.labels for part in self.parts])

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, split: str) -> np.ndarray:
        """Rows of the windows of "train", "val" or "test"."""
        found = zip(self.parts, self._starts[:-1], strict=True)
        return np.concatenate([part.rows(split) + start for part, start in found])

    def manifest_for_row(self, row: int) -> Manifest:
        """What the site of a window says of itself."""
        return self.parts[np.searchsorted(self._starts, row, side="right") - 1].manifest

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Partition.read`."""
        rows = np.asarray(rows, np.intp)
        values = np.zeros((len(rows), *self.manifest.shape), np.float32)
        observed = np.zeros(values.shape, bool)
        for part, start in zip(self.parts, self._starts[:-1], strict=True):
            mine = (rows >= start) & (rows < start + len(part))
            values[mine], observed[mine] = part.read(rows[mine] - start)
        return values, observed

    def fingerprint(self) -> str:
        """As `Partition.fingerprint`."""
        return hashlib.sha256(" ".join(part.fingerprint() for part in self.parts).encode()).hexdigest()
