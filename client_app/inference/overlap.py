"""Overlapping windows over a long recording, and their blend."""

from __future__ import annotations

import numpy as np


def window_starts(patches: int, window: int, stride: int) -> np.ndarray:
    """Return the first patch of each window over a recording of some patches, increasing.

    The last window ends with the recording; a recording as short as one window has one window.
    """
    last = max(0, patches - window)
    return np.append(np.arange(0, last, stride), last)


def blend_weights(patches: int, samples: int) -> np.ndarray:
    """Return the weight of each sample `(patch, sample)` of a window: sin², small at the borders.

    Two windows that overlap by half have weights that add up to 1.
    """
    number = patches * samples
    return np.sin(np.pi * (np.arange(number) + 0.5) / number).reshape(patches, samples) ** 2


class WindowBlend:
    """Weighted mean of overlapping windows that are added in the order of time.

    `weights` are (modality, patch, sample) of a window; `levels` arrays are blended alike, such as the point
    estimate and its quantiles.
    """

    def __init__(self, weights: np.ndarray, levels: int) -> None:
        self._weights = weights
        self._first = 0
        modalities, _, samples = weights.shape
        self._sums = np.zeros((levels, modalities, 0, samples))
        self._totals = np.zeros((modalities, 0, samples))

    def add(self, start: int, values: np.ndarray) -> None:
        """Add a window `(level, modality, patch, sample)` that starts at patch `start`."""
        first = start - self._first
        self._extend(first + self._weights.shape[1])
        covered = slice(first, first + self._weights.shape[1])
        self._sums[:, :, covered] += self._weights * values
        self._totals[:, covered] += self._weights

    def release(self, end: int) -> tuple[int, np.ndarray]:
        """Return the first patch and the values of what lies before `end`, which no later window changes.

        Values are float32 (level, modality, patch, sample), NaN where there was no window, and are forgotten.
        """
        first, number = self._first, end - self._first
        self._first = end
        if not self._totals.shape[1]:
            shape = (len(self._sums), *self._weights.shape[:1], number, self._weights.shape[2])
            return first, np.broadcast_to(np.float32(np.nan), shape)
        self._extend(number)
        with np.errstate(invalid="ignore"):
            values = (self._sums[:, :, :number] / self._totals[:, :number]).astype(np.float32)
        self._sums, self._totals = self._sums[:, :, number:].copy(), self._totals[:, number:].copy()
        return first, values

    def _extend(self, patches: int) -> None:
        if (more := patches - self._totals.shape[1]) > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, 0), (0, more), (0, 0)))
            self._totals = np.pad(self._totals, ((0, 0), (0, more), (0, 0)))
