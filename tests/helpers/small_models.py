"""Arrays of a model of four modalities, small enough to average by hand, and what a site observed of them."""

import numpy as np

from condi_core.ownership import SHARED, Owner

BASE = {
    "shared": np.array([1.0, 1.0], np.float32),
    "rows": np.arange(8, dtype=np.float32).reshape(4, 2),
    "pairs": np.zeros((4, 4, 3), np.float32),
}
OWNERS = {"shared": SHARED, "rows": Owner("modality"), "pairs": Owner("pair")}


def filled(value: float) -> dict[str, np.ndarray]:
    """Return arrays like those of `BASE` with one value everywhere."""
    return {name: np.full_like(array, value) for name, array in BASE.items()}


def counts_with(*present: int) -> np.ndarray:
    """Count, per pair of modalities, two windows in which the modalities `present` are observed."""
    observed = np.isin(range(4), present).astype(float)
    return 2 * np.outer(observed, observed)
