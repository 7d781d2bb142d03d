"""A federation of a few small windows: two waves, one delayed, observed by four modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.federation import write_federation
from data_partitions.manifest import Manifest, Modality

NAMES = ("a", "b", "c", "d")
PATCHES, SAMPLES = 12, 5


def manifest(
    site: str, windows: dict[str, int], missing_modalities: tuple[str, ...] = (), **changes
) -> Manifest:
    modalities = tuple(
        Modality(name=n, unit="mV", rate=50.0, samples_per_patch=SAMPLES, present=n not in missing_modalities)
        for n in NAMES
    )
    fields = {
        "dataset": "waves",
        "version": "1",
        "site": site,
        "modalities": modalities,
        "patch_seconds": 0.1,
        "patches": PATCHES,
        "labels": ("slow", "fast"),
        "task": "multi-label",
        "label_rule": "by frequency",
        "windows": windows,
        "license": "none",
        "made_by": "a test",
    }
    return Manifest(**fields | changes)


def waves(rng: np.random.Generator, fast: bool) -> np.ndarray:
    """Generate one window `(modality, patch, sample)`."""
    t = np.arange(PATCHES * SAMPLES) / 50
    frequency = (3.0 if fast else 1.0) + 0.1 * rng.standard_normal()
    phase, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.2)
    first, second = (size * np.sin(2 * np.pi * frequency * t + phase - lag) for lag in (0, 0.7))
    rows = np.stack([first, second, first - second, 5 + 0.5 * first]) + 0.05 * rng.standard_normal(
        (4, len(t))
    )
    return rows.reshape(4, PATCHES, SAMPLES).astype(np.float32)


def site_data(name: str, seed: int, train: int = 8, val: int = 3, test: int = 3):
    """Return the index and the windows of a site."""
    rng = np.random.default_rng(seed)
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    fast = np.arange(len(splits)) % 2 == 0
    index = pd.DataFrame(
        {
            "record_id": [f"{name}-{i}" for i in range(len(splits))],
            "patient_id": [f"{name}-p{i}" for i in range(len(splits))],
            "split": splits,
            "slow": (~fast).astype(int),
            "fast": fast.astype(int),
        }
    )
    return index, [waves(rng, f) for f in fast]


def write_tiny(
    path: Path, sites: int = 3, missing_modalities: dict[int, tuple[str, ...]] | None = None, **sizes
) -> Path:
    """Write a federation of `sites` sites, with the missing modalities of sites by their numbers."""
    parts = []
    for i in range(sites):
        name = f"site-{i}"
        index, windows = site_data(name, seed=i, **sizes)
        counts = {split: int((index["split"] == split).sum()) for split in ("train", "val", "test")}
        parts.append((manifest(name, counts, (missing_modalities or {}).get(i, ())), index, windows))
    write_federation(path, parts, dataset="waves", split="natural", seed=0, made_by="a test")
    return path
