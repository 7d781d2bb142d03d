"""Digital samples in the bytes of a WFDB signal file (WFDB Applications Guide, signal(5)).

`wfdb` reads the same formats, but only whole records quickly, and cannot change single samples of a file.
A test checks that the two agree.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Piece(NamedTuple):
    """Consecutive bits of a sample, in one byte of its block."""

    byte: int
    shift: int  # of the bits in the byte
    bits: int
    position: int  # of the bits in the sample


@dataclass(frozen=True)
class SampleFormat:
    """How samples are packed: blocks of some bytes hold some samples."""

    bits: int  # bits of a sample. The lowest number that they represent stands for a missing sample
    block_bytes: int  # bytes of a block
    # For each sample of a block, its pieces; empty where numpy has the type.
    samples: tuple[tuple[Piece, ...], ...] = ()
    dtype: str = ""  # numpy's type of a sample; "" where it has none
    offset: int = 0  # what is subtracted from a number in the file

    @property
    def block_samples(self) -> int:
        """Samples in a block."""
        return len(self.samples) or 1

    @property
    def missing(self) -> int:
        """Digital value of a missing sample."""
        return -(1 << (self.bits - 1))

    def bytes_of(self, samples: int) -> int:
        """Bytes that a number of samples takes; the last block may be incomplete."""
        blocks, rest = divmod(samples, self.block_samples)
        pieces = [piece.byte + 1 for sample in self.samples[:rest] for piece in sample]
        return blocks * self.block_bytes + max(pieces, default=0)

    def samples_of(self, size: int) -> int:
        """Complete samples in a number of bytes."""
        blocks, rest = divmod(size, self.block_bytes)
        part = [count for count in range(self.block_samples) if self.bytes_of(count) <= rest]
        return blocks * self.block_samples + part[-1]

    def decode(self, content: np.ndarray, count: int) -> np.ndarray:
        """Return `count` samples from uint8 `content` that starts with a block."""
        if self.dtype:
            numbers = content[: count * self.block_bytes].view(self.dtype)
            return numbers.astype(np.int32) - self.offset if self.offset else numbers
        blocks = self._blocks(content)
        dtype = np.dtype(np.int16 if self.bits <= 16 else np.int32)
        digital = np.empty((len(blocks), self.block_samples), dtype)
        unused = 8 * dtype.itemsize - self.bits  # high bits, which have to be those of the sign
        for sample, pieces in enumerate(self.samples):
            bits = np.zeros(len(blocks), dtype)
            for piece in pieces:
                part = (blocks[:, piece.byte] >> piece.shift) & ((1 << piece.bits) - 1)
                bits |= part.astype(dtype) << (piece.position + unused)
            np.right_shift(bits, unused, out=digital[:, sample])
        return digital.reshape(-1)[:count]

    def replace(self, content: np.ndarray, positions: np.ndarray, digital: np.ndarray) -> np.ndarray:
        """Return `content` with other samples at some positions; all other bits stay."""
        if self.dtype:
            changed = content.copy()
            changed.view(self.dtype)[positions] = digital + self.offset
            return changed
        blocks = self._blocks(content).copy()
        for sample, pieces in enumerate(self.samples):
            at = positions % self.block_samples == sample
            rows, numbers = positions[at] // self.block_samples, digital[at]
            for piece in pieces:
                mask = (1 << piece.bits) - 1
                part = ((numbers >> piece.position) & mask) << piece.shift
                blocks[rows, piece.byte] = blocks[rows, piece.byte] & ~np.uint8(mask << piece.shift) | part
        return blocks.reshape(-1)[: len(content)]

    def _blocks(self, content: np.ndarray) -> np.ndarray:
        """Return content as `(block, byte)`; an incomplete last block is padded with zeros."""
        lacking = -len(content) % self.block_bytes
        if lacking:
            content = np.concatenate([content, np.zeros(lacking, np.uint8)])
        return content.reshape(-1, self.block_bytes)


# By the number in the header. Format 8 (differences) and 508, 516 and 524 (FLAC) are in wfdb_streams.py.
SAMPLE_FORMATS = {
    "16": SampleFormat(16, 2, dtype="<i2"),
    "61": SampleFormat(16, 2, dtype=">i2"),
    "160": SampleFormat(16, 2, dtype="<u2", offset=1 << 15),
    "80": SampleFormat(8, 1, dtype="u1", offset=1 << 7),
    "32": SampleFormat(32, 4, dtype="<i4"),
    "24": SampleFormat(24, 3, ((Piece(0, 0, 8, 0), Piece(1, 0, 8, 8), Piece(2, 0, 8, 16)),)),
    "212": SampleFormat(
        12, 3, ((Piece(0, 0, 8, 0), Piece(1, 0, 4, 8)), (Piece(2, 0, 8, 0), Piece(1, 4, 4, 8)))
    ),
    "310": SampleFormat(
        10,
        4,
        (
            (Piece(0, 1, 7, 0), Piece(1, 0, 3, 7)),
            (Piece(2, 1, 7, 0), Piece(3, 0, 3, 7)),
            (Piece(1, 3, 5, 0), Piece(3, 3, 5, 5)),
        ),
    ),
    "311": SampleFormat(
        10,
        4,
        (
            (Piece(0, 0, 8, 0), Piece(1, 0, 2, 8)),
            (Piece(1, 2, 6, 0), Piece(2, 0, 4, 6)),
            (Piece(2, 4, 4, 0), Piece(3, 0, 6, 4)),
        ),
    ),
}
