"""Rows of a file, read in blocks of which the last two are held."""

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK_NUMBERS = 1 << 18  # numbers in a block, which take 2 MB as float64


class BlockReader:
    """Reads stretches of rows from blocks.

    Successive stretches of one channel, and the same stretch of all channels, read each block once.

    Parameters
    ----------
    load
        Returns rows `first` to `last` as an array `(row, column)`.
    num_rows
        Rows of the file.
    block_rows
        Rows of a block.
    """

    def __init__(self, load: Callable[[int, int], np.ndarray], num_rows: int, block_rows: int) -> None:
        self.load = load
        self.num_rows = num_rows
        self.block_rows = block_rows
        self.blocks: dict[int, np.ndarray] = {}

    def read(self, first: int, last: int, columns: slice) -> np.ndarray:
        """Return the columns of rows `first` to `last`, which the file must have, as `(number,)`."""
        parts = []
        while first < last:
            number = first // self.block_rows
            start = number * self.block_rows
            end = min(last, start + self.block_rows)
            parts.append(self._block(number)[first - start : end - start, columns].reshape(-1))
            first = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _block(self, number: int) -> np.ndarray:
        if number not in self.blocks:
            if len(self.blocks) > 1:
                del self.blocks[next(iter(self.blocks))]
            first = number * self.block_rows
            self.blocks[number] = self.load(first, min(first + self.block_rows, self.num_rows))
        return self.blocks[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "blocks": {}}
