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


class RecordingWindows:
    """Cuts a recording into windows of a model.

    Parameters
    ----------
    match : Match
        The recording as modalities of the model.
    schema : Schema
        Of the model.
    starts : np.ndarray
        First patch of each window, increasing.
    """

    def __init__(self, match: Match, schema: Schema, starts: np.ndarray) -> None:
        self.match = match
        self.schema = schema
        self.starts = starts
        self.observed = dict.fromkeys(schema.names, 0)  # samples of each modality that were read
        self._first = 0
        self._buffer = self._empty(0)

    def blocks(self, size: int) -> Iterator[WindowBlock]:
        """Yield the windows in the order of time; each sample is read once, and counted in `observed`."""
        for starts in iterate_blocks(self.starts, size):
            first, end = int(starts[0]), int(starts[-1]) + self.schema.patches
            kept_patches = self._buffer[:, first - self._first :]
            new_patches = self._read(first + kept_patches.shape[1], end)
            self._buffer, self._first = np.concatenate([kept_patches, new_patches], 1), first
            patches = (starts - first)[:, None] + np.arange(self.schema.patches)
            yield WindowBlock(starts, np.moveaxis(self._buffer[:, patches], 1, 0))

    def take(self, first: int, end: int) -> np.ndarray:
        """Return patches of the last block as `(modality, patch, sample)`, NaN where not observed."""
        return self._buffer[:, first - self._first : end - self._first]

    def _read(self, first: int, end: int) -> np.ndarray:
        """Read patches `first` to `end` as `(modality, patch, sample)`."""
        values, seconds = self._empty(end - first), self.schema.patch_seconds
        for m, modality in enumerate(self.schema.modalities):
            if modality.name in self.match.modalities:
                samples = self.match.read(modality.name, first * seconds, (end - first) * seconds)
                self.observed[modality.name] += int((~np.isnan(samples)).sum())
                values[m, :, : modality.samples_per_patch] = samples.reshape(end - first, -1)
        return values

    def _empty(self, patches: int) -> np.ndarray:
        shape = (len(self.schema.modalities), patches, self.schema.samples)
        return np.full(shape, np.nan, np.float32)


def count_patches(match: Match, schema: Schema) -> int:
    """Return the number of patches of a recording, of which the last may be incomplete."""
    return max(1, int(np.ceil(match.seconds / schema.patch_seconds - 1e-9)))


def overlapping_windows(match: Match, schema: Schema) -> RecordingWindows:
    """Cut a recording into windows that overlap by half, of which the last ends with the recording."""
    stride = max(1, schema.patches // 2)
    starts = window_starts(count_patches(match, schema), schema.patches, stride)
    return RecordingWindows(match, schema, starts)


def successive_windows(match: Match, schema: Schema, stride: int) -> RecordingWindows:
    """Cut a recording into windows from its start; the last may reach beyond its end.

    Parameters
    ----------
    stride : int
        Patches from the start of a window to that of the next.
    """
    overlap = max(0, schema.patches - stride)
    end = max(1, count_patches(match, schema) - overlap)
    return RecordingWindows(match, schema, np.arange(0, end, stride))
