"""The files of values in a partition: one array per modality, memory-mapped and checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.manifest import Manifest, Modality

VALUES_BLOCK_BYTES = 16 * 2**20  # read at a time from a file of values


def values_file(path: Path, modality: str) -> Path:
    """Return the file of a modality in the partition at `path`."""
    return path / "values" / f"{modality}.npy"


def read_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the content of blocks of limited size."""
    step = max(1, VALUES_BLOCK_BYTES // array[0].nbytes)
    for first in range(0, len(array), step):
        yield first, array[first : first + step]


def map_values(path: Path, modality: Modality, manifest: Manifest, rows: int) -> np.ndarray:
    """Map the values of a modality into memory; DataError when the file does not fit the manifest."""
    file = values_file(path, modality.name)
    expected = (rows, manifest.patches, modality.samples_per_patch)
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{file} is missing, but the manifest says that {modality.name} is present") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{file} is damaged ({error}): prepare the partition again") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise DataError(
            f"{file} must contain float32, it contains {getattr(array, 'dtype', type(array).__name__)}"
        )
    if array.shape != expected:
        raise DataError(f"{file} must have shape {expected} (window, patch, sample), it has {array.shape}")
    return array
