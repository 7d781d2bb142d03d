"""Which split each patient is in, for data sets that publish no split of their own."""

import hashlib
from collections.abc import Iterable

from data_partitions.manifest import SPLITS

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}


def hash_splits(dataset: str, patients: Iterable[str], shares: dict[str, float] = SHARES) -> dict[str, str]:
    """Patient id -> train, val or test, in these shares.

    Patients are ranked by a hash of (data set, patient id) and the ranking is cut: the same on every machine
    and whatever the seed of a federation or a run is, so that test patients stay test patients.
    """
    ranked = sorted(set(patients), key=lambda p: hashlib.sha256(f"{dataset}\n{p}".encode()).digest())
    bounds = [round(sum(shares[s] for s in SPLITS[: i + 1]) * len(ranked)) for i in range(len(SPLITS))]
    starts = [0, *bounds[:-1]]
    return {
        patient: split
        for split, start, end in zip(SPLITS, starts, bounds, strict=True)
        for patient in ranked[start:end]
    }
