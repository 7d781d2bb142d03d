"""A recording as windows of a model, read a block at a time whatever its length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from client_app.inference.overlap import window_starts
from condi_core.windows import Schema, iterate_blocks
from data_partitions.signals.match import Match


class WindowBlock(NamedTuple):
    """Consecutive windows of a recording.

    Attributes
    ----------
    starts : first patch of each window
    values : float32 (window, modality, patch, sample), NaN where not observed
    """

    starts: np.ndarray
    values: np.ndarray


class PatchReader:
    """Reads stretches of a recording as patches of a model, and counts the samples of each modality."""

    def __init__(self, match: Match, schema: Schema) -> None:
        self.match = match
        self.schema = schema
        self.observed = dict.fromkeys(schema.names, 0)

    def read(self, start_seconds: float, patches: int) -> np.ndarray:
        """Read patches as float32 `(modality, patch, sample)`, NaN where not observed."""
        values = np.full((len(self.schema.modalities), patches, self.schema.samples), np.nan, np.float32)
        for m, modality in enumerate(self.schema.modalities):
            if modality.name in self.match.modalities:
                samples = self.match.read(modality.name, start_seconds, patches * self.schema.patch_seconds)
                self.observed[modality.name] += int((~np.isnan(samples)).sum())
                values[m, :, : modality.samples_per_patch] = samples.reshape(
                    patches, modality.samples_per_patch
                )
        return values


class OverlappingWindows:
    """Windows of a recording that overlap by half, of which the last ends with the recording."""

    def __init__(self, match: Match, schema: Schema) -> None:
        self.schema = schema
        self.reader = PatchReader(match, schema)
        patches = max(1, int(np.ceil(match.seconds / schema.patch_seconds - 1e-9)))
        self.starts = window_starts(patches, schema.patches, max(1, schema.patches // 2))
        self._first = 0
        self._buffer = self.reader.read(0, 0)

    def blocks(self, size: int) -> Iterator[WindowBlock]:
        """Yield the windows in the order of time; each sample of the recording is read once."""
        for starts in iterate_blocks(self.starts, size):
            first, end = int(starts[0]), int(starts[-1]) + self.schema.patches
            overlap = self._buffer[:, first - self._first :]
            new_first = first + overlap.shape[1]
            new_patches = self.reader.read(new_first * self.schema.patch_seconds, end - new_first)
            self._buffer, self._first = np.concatenate([overlap, new_patches], 1), first
            patches = (starts - first)[:, None] + np.arange(self.schema.patches)
            yield WindowBlock(starts, np.moveaxis(self._buffer[:, patches], 1, 0))

    def take(self, first: int, end: int) -> np.ndarray:
        """Return patches of the last block as `(modality, patch, sample)`, NaN where not observed."""
        return self._buffer[:, first - self._first : end - self._first]
