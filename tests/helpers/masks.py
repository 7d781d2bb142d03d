"""Masks of many records, and how to read them."""

import numpy as np

from data_partitions.missingness import Missingness, missingness_mask

FULL = np.ones((12, 100, 10), bool)
RATES = (100, 1)  # of two modalities at which everything is to hold as well
TWO = np.zeros((2, 30, 100), bool)
TWO[0] = TWO[1, :, 0] = True


def masks(observed=FULL, records=200, values=None, rates=None, **missingness):
    """Masks of some records, (record, modality, patch, sample); values are noise unless given."""
    rng = np.random.default_rng(2)
    out = []
    for i in range(records):
        x = rng.standard_normal(observed.shape).astype(np.float32) if values is None else values[i]
        out.append(
            missingness_mask(
                x, observed, Missingness(**missingness), seed=0, record_id=str(i), samples_per_patch=rates
            )
        )
    return np.array(out)


def runs(stream) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(stream.astype(int), prepend=0, append=0))
    return edges[::2], edges[1::2] - edges[::2]
