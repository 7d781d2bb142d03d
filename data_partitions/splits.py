"""Splits of patients, for data sets that publish none."""

import hashlib
from collections.abc import Iterable, Mapping

from data_partitions.manifest import SPLITS, Split

SPLIT_SHARES: dict[Split, float] = {"train": 0.70, "val": 0.15, "test": 0.15}


def hash_splits(
    dataset: str, patients: Iterable[str], shares: Mapping[Split, float] = SPLIT_SHARES
) -> dict[str, Split]:
    """Assign each patient to train, val or test, in shares.

    Patients are ranked by a hash of (data set, patient id), and the ranking is cut. The result is the same on
    every machine and does not depend on the seed of a federation or a run, so test patients stay test
    patients.
    """
    ranked = sorted(set(patients), key=lambda p: hashlib.sha256(f"{dataset}\n{p}".encode()).digest())
    bounds = [round(sum(shares[s] for s in SPLITS[: i + 1]) * len(ranked)) for i in range(len(SPLITS))]
    starts = [0, *bounds[:-1]]
    return {
        patient: split
        for split, start, end in zip(SPLITS, starts, bounds, strict=True)
        for patient in ranked[start:end]
    }
