"""Arrays of a small model of four modalities, and counts of the windows that a site observed."""

import numpy as np

from condi_core.ownership import SHARED, Owner

BASE = {
    "shared": np.array([1.0, 1.0], np.float32),
    "rows": np.arange(8, dtype=np.float32).reshape(4, 2),
    "pairs": np.zeros((4, 4, 3), np.float32),
}
OWNERS = {"shared": SHARED, "rows": Owner("modality"), "pairs": Owner("pair")}


def filled(value: float) -> dict[str, np.ndarray]:
    """Return arrays with the shapes of `BASE` and one value everywhere."""
    return {name: np.full_like(array, value) for name, array in BASE.items()}


def counts_with(*present: int) -> np.ndarray:
    """Return counts, per pair of modalities, of two windows in which those `present` are observed."""
    observed = np.isin(range(4), present).astype(float)
    return 2 * np.outer(observed, observed)
