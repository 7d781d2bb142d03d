"""Pack many arrays as one, for messages between coordinator and sites.

Flower sends, stores, counts and acknowledges each object of a message separately, which a SuperLink does in
several transactions of its database, one after the other. A model has hundreds of arrays, and an array alone
in its record is three objects: record, array and piece of it. As bytes in a ConfigRecord it is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

PACKED = "safetensors"  # name of the one array, and the format of its bytes
MAX_OBJECT_BYTES = 5 * 2**20  # of arrays that are sent as one object: the size of Flower's pieces of an array
HEADER_BYTES = 4096  # upper bound of the part of a file that does not depend on its arrays
BYTES_PER_ARRAY = 250  # upper bound of an array's entry in the header, without its name


class PackingError(ValueError):
    """A record does not hold arrays as `to_bytes` packs them."""


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack named arrays as a safetensors file."""
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def round_to_half(array: np.ndarray) -> np.ndarray:
    """Round to the nearest numbers of float16 and keep the type; numbers beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype)


def halve_exact(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert to float16 each array of float32 whose numbers it has exactly."""
    return {
        name: array.astype(np.float16)
        if array.dtype == np.float32 and np.array_equal(round_to_half(array), array)
        else array
        for name, array in arrays.items()
    }


def widen(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert arrays of float16 to float32, which is exact."""
    return {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in arrays.items()}


def unpack_arrays(record: Mapping[str, Any], max_bytes: float = math.inf) -> dict[str, np.ndarray]:
    """Unpack the arrays of a record, in the order of their names.

    Parameters
    ----------
    record : one entry PACKED: bytes as `to_bytes` makes them, or a Flower array that has these as its `data`
    max_bytes : limit of its size; without it, a record with many empty arrays could take gigabytes of memory

    Raises
    ------
    PackingError
        The record has other entries, is too large, or cannot be read.
    """
    packed = _packed_bytes(record)
    if len(packed) > max_bytes:
        raise PackingError(f"its arrays take {len(packed)} bytes, expected at most {max_bytes:g}")
    try:
        return dict(sorted(load(packed).items()))
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a type that numpy does not know
        raise PackingError(f"its arrays cannot be read ({type(error).__name__})") from None


def packed_size(record: Mapping[str, Any]) -> int:
    """Return the size of a record's arrays in bytes; PackingError when it has none that are packed as one."""
    return len(_packed_bytes(record))


def _packed_bytes(record: Mapping[str, Any]) -> bytes:
    packed = getattr(record[PACKED], "data", record[PACKED]) if set(record) == {PACKED} else None
    if not isinstance(packed, bytes):
        raise PackingError(f"its arrays are not packed as one, {PACKED}")
    return packed


def max_packed_size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return an upper bound of the bytes that arrays of these shapes take when they are packed."""
    numbers = sum(math.prod(shape) for shape in shapes.values())
    return 8 * numbers + sum(BYTES_PER_ARRAY + 4 * len(name) for name in shapes) + HEADER_BYTES
