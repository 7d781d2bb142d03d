"""Masks of observed samples, packed to one bit per sample, and their store in this process's memory.

The missingness that a run simulates is fixed by its settings and the record id, and windows are read in every
round. Making a mask costs ten times as much as reading the values of its window, so each is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

MAX_STORE_BYTES = 256 * 2**20


def pack_masks(masks: np.ndarray) -> np.ndarray:
    """Pack bool masks `(window, modality, patch, sample)` to bytes `(window, byte)`."""
    return np.packbits(masks.reshape(len(masks), -1), axis=1)


def unpack_masks(packed: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Unpack bytes `(window, byte)` to bool masks `(window, *shape)`."""
    bits = np.unpackbits(packed, axis=1, count=prod(shape))
    return bits.view(bool).reshape(len(packed), *shape)


class MaskStore:
    """Packed masks by key and row; when the store is full, the oldest masks are removed.

    Parameters
    ----------
    max_bytes : int
        Limit of the masks' own size.
    """

    def __init__(self, max_bytes: int = MAX_STORE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._masks: dict[tuple[str, int], np.ndarray] = {}
        self._bytes = 0

    def get_or_make(self, key: str, rows: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return packed masks of `rows`, of which only those are made that the store does not have.

        Parameters
        ----------
        key : str
            Identifies data and settings that fix the masks.
        rows : ndarray of int, shape (window,)
            Rows of the windows in their partition.
        make : callable
            Given positions in `rows`, returns the bool masks `(window, modality, patch, sample)` of those.

        Returns
        -------
        ndarray of uint8, shape (window, byte)
        """
        missing = [i for i, row in enumerate(rows) if (key, int(row)) not in self._masks]
        made: dict[int, np.ndarray] = {}
        if missing:
            made = dict(zip(missing, pack_masks(make(np.array(missing))), strict=True))
        packed = [made[i] if i in made else self._masks[key, int(row)] for i, row in enumerate(rows)]
        for i, mask in made.items():
            self._add((key, int(rows[i])), mask)
        return np.stack(packed)

    def _add(self, key: tuple[str, int], mask: np.ndarray) -> None:
        if key in self._masks or mask.nbytes > self.max_bytes:
            return
        while self._bytes + mask.nbytes > self.max_bytes:
            self._bytes -= self._masks.pop(next(iter(self._masks))).nbytes
        self._masks[key] = mask.copy()  # without the copy, a view would keep the masks of the whole batch
        self._bytes += mask.nbytes
