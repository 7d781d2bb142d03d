"""Many arrays as one, for the way between coordinator and sites.

Flower sends, stores, counts and acknowledges each array of a record by itself, which a SuperLink writes down
in several transactions of its database, one after the other. A model has hundreds of arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors.numpy import load, save

PACKED = "safetensors"  # name of the one array


def pack(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Named arrays as the bytes of a safetensors file, uint8 (byte,)."""
    return np.frombuffer(save({name: np.asarray(a, order="C") for name, a in arrays.items()}), np.uint8)


def unpack(packed: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays that were packed, by name; SafetensorError where they cannot be read."""
    return dict(sorted(load(packed.tobytes()).items()))
