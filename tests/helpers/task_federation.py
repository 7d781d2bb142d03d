"""Federations of small windows with every kind of task, covariates, and windows or sites without labels."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from data_partitions.federation import write_federation
from tests.helpers.tiny_federation import manifest, site_data

SIZES = {"train": 8, "val": 4, "test": 6}
COVARIATES = (
    {"name": "age", "unit": "years", "groups": (40, 65)},
    {"name": "sex", "categories": ("f", "m")},
)
LABELS = {
    "none": (),
    "binary": ("fast",),
    "multi-label": ("slow", "fast"),
    "single-label": ("slow", "fast"),
    "ordinal": ("low", "middle", "high"),
    "regression": ("stay",),
}


def write_task_federation(
    path: Path,
    task: str,
    *,
    sites: int = 3,
    unlabelled_sites: Collection[int] = (),
    unlabelled_windows: int = 0,
    covariates: tuple = (),
    sizes: dict[str, int] = SIZES,
) -> Path:
    """Write a federation whose signals are slow or fast, and labels that follow from that.

    Parameters
    ----------
    path
        Directory of the federation.
    task
        Kind of task.
    sites
        Number of sites, called site-0 and so on.
    unlabelled_sites
        Numbers of the sites without labels.
    unlabelled_windows
        Number of the first training windows of site-1 without labels.
    covariates
        `COVARIATES` or none.
    sizes
        Windows of each split and site.
    """
    labels, parts = LABELS[task], []
    for i in range(sites):
        name = f"site-{i}"
        index, windows = site_data(name, seed=i, **sizes)
        fast, row = index["fast"].to_numpy(), np.arange(len(index))
        if task == "regression":
            index["stay"] = 2.0 + 3 * fast + 0.1 * (row % 5)
        if task == "ordinal":
            step = np.where(fast, 2, row // 2 % 2)
            for number, label in enumerate(labels):
                index[label] = (step == number).astype(int)
        index["covariate age"] = np.where(row % 7 == 6, np.nan, 30.0 + 5 * (row % 9))
        index["covariate sex"] = np.where(row % 3 == 0, "f", "m")
        index = index.astype({label: float for label in labels})
        if i in unlabelled_sites:
            index[list(labels)] = np.nan
        elif i == 1 and labels:
            index.loc[row < unlabelled_windows, list(labels)] = np.nan
        fields = {"task": task, "labels": labels, "covariates": covariates}
        fields |= {"label_unit": "days"} if task == "regression" else {}
        parts.append((manifest(name, sizes, **fields), index, windows))
    how = {"dataset": "waves", "split": "natural", "seed": 0, "made_by": "a test"}
    return write_federation(path, parts, **how).path
