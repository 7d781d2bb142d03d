"""Rows of a file, read in blocks. Of all files together, the blocks that were used last are held."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

BLOCK_NUMBERS = 1 << 18  # numbers in a block, which take 2 MB as float64
HELD_BLOCKS = 16
_held: OrderedDict[tuple["BlockReader", int], np.ndarray] = OrderedDict()


class BlockReader:
    """Reads stretches of the rows of a file from blocks; `load` returns the rows from `first` to `last`.

    Successive stretches of one channel, and the same stretch of all channels, read each block once.
    """

    def __init__(self, load: Callable[[int, int], np.ndarray], num_rows: int, block_rows: int) -> None:
        self.load = load
        self.num_rows = num_rows
        self.block_rows = block_rows

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

    def read_around(self, first: int, last: int, columns: slice) -> np.ndarray:
        """Return one column of rows `first` to `last`: float64, NaN before and after those of the file."""
        samples = np.full(last - first, np.nan)
        low, high = max(first, 0), min(last, self.num_rows)
        if low < high:
            samples[low - first : high - first] = self.read(low, high, columns)
        return samples

    def _block(self, number: int) -> np.ndarray:
        key = (self, number)
        if key in _held:
            _held.move_to_end(key)
        else:
            first = number * self.block_rows
            _held[key] = self.load(first, min(first + self.block_rows, self.num_rows))
            if len(_held) > HELD_BLOCKS:
                _held.popitem(last=False)
        return _held[key]
