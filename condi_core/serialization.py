"""Many arrays as one, for the way between coordinator and sites.

Flower sends, stores, counts and acknowledges each array of a record by itself, which a SuperLink writes down
in several transactions of its database, one after the other. A model has hundreds of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

PACKED = "safetensors"  # name of the one array, and what its bytes are
BYTES_PER_ARRAY, HEADER_BYTES = 250, 4096  # bytes that a name, a shape and places in the file take at most


class PackingError(ValueError):
    """What came is not arrays as `to_bytes` makes one of them."""


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Named arrays as a safetensors file."""
    return save({name: np.asarray(a, order="C") for name, a in arrays.items()})


def from_bytes(record: Mapping[str, bytes], most: float = math.inf) -> dict[str, np.ndarray]:
    """The arrays packed in a record, by name.

    PackingError when the record is not those and nothing else, in `most` bytes: some MB of a file that names
    nothing but empty arrays would be GB here.
    """
    if set(record) != {PACKED}:
        raise PackingError(f"its arrays are not packed as one, {PACKED}")
    if len(record[PACKED]) > most:
        raise PackingError(f"its arrays take {len(record[PACKED])} bytes where {most:g} are enough")
    try:
        return dict(sorted(load(record[PACKED]).items()))
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: of a type that numpy has not
        raise PackingError(f"its arrays cannot be read ({type(error).__name__})") from None


def max_packed_size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Bytes that arrays of these shapes take at most when they are packed."""
    numbers = sum(math.prod(shape) for shape in shapes.values())
    return 8 * numbers + sum(BYTES_PER_ARRAY + 4 * len(name) for name in shapes) + HEADER_BYTES
