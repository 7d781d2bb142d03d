"""Masks of many records, and their runs of hidden samples."""

import numpy as np

from condi_core.missingness import Missingness, missingness_mask

FULL = np.ones((12, 100, 10), bool)
RATES = (100, 1)  # samples per patch of the modalities of TWO_RATES
TWO_RATES = np.zeros((2, 30, 100), bool)
TWO_RATES[0] = TWO_RATES[1, :, 0] = True


def make_masks(observed=FULL, records=200, values=None, rates=None, **missingness):
    """Make masks of records, `(record, modality, patch, sample)`. Values are noise by default."""
    rng = np.random.default_rng(2)
    masks = []
    for i in range(records):
        x = rng.standard_normal(observed.shape).astype(np.float32) if values is None else values[i]
        masks.append(
            missingness_mask(
                x, observed, Missingness(**missingness), seed=0, record_id=str(i), samples_per_patch=rates
            )
        )
    return np.array(masks)


def find_runs(stream) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(stream.astype(int), prepend=0, append=0))
    return edges[::2], edges[1::2] - edges[::2]
