"""Records with the same signal: the patients they belong to count as one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from data_partitions.manifest import SPLITS
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun


def join_duplicates(signals: Sequence[Path], table: pd.DataFrame, log: PreparationLog) -> None:
    """Give patients who share a signal, byte for byte, one patient_id and one split, in place.

    Otherwise the same signal could be in training and in test. `signals` has the file of each row of the
    index.
    """
    groups = find_equal_files(signals)
    if not groups:
        return
    log.note(
        f"Duplicate signals: {sum(map(len, groups))} records have {count_noun(len(groups), 'signal')}. They "
        "are included, and patients who share a signal count as one."
    )
    patients = table["patient_id"].tolist()
    for rows in groups:
        ids = {patients[i] for i in rows}
        first = min(ids, key=lambda name: (len(name), name))
        patients = [first if patient in ids else patient for patient in patients]
    table["patient_id"] = patients
    rank = table["split"].map(SPLITS.index).groupby(table["patient_id"]).transform("min")
    table["split"] = rank.map(dict(enumerate(SPLITS)))


def find_equal_files(files: Sequence[Path]) -> list[list[int]]:
    """Return the positions of files that are equal byte for byte, in groups of two or more."""
    # The first bytes distinguish nearly all records; only those that agree are read completely.
    alike = _groups_of(range(len(files)), lambda i: _sha256(files[i], 4096))
    return [same for rows in alike for same in _groups_of(rows, lambda i: _sha256(files[i]))]


def _groups_of(rows: Iterable[int], key: Callable[[int], bytes]) -> list[list[int]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _sha256(file: Path, size: int = -1) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.sha256(opened.read(size)).digest()
