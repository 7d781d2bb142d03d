"""The manifest, index and windows of a partition of six windows."""

import numpy as np
import pandas as pd

from data_partitions.manifest import SPLITS
from data_partitions.partition import Manifest


def manifest_of(site: str = "here", counts: tuple[int, int, int] = (4, 1, 1), **changes) -> Manifest:
    """Make a manifest of three patches of 1 s and modalities at 100, 100 (not present) and 1 Hz."""
    fast = {"unit": "uV", "rate": 100, "samples_per_patch": 100}
    fields = {
        "dataset": "sleep",
        "version": "1",
        "site": site,
        "modalities": [
            {"name": "EEG Fpz-Cz", "present": True, **fast},
            {"name": "EOG", "present": False, **fast},
            {"name": "Resp", "present": True, "unit": "a.u.", "rate": 1, "samples_per_patch": 1},
        ],
        "patch_seconds": 1.0,
        "patches": 3,
        "labels": ("W", "REM"),
        "task": "single-label",
        "label_rule": "as scored",
        "windows": dict(zip(SPLITS, counts, strict=True)),
        "license": "none",
        "made_by": "a test",
    }
    return Manifest.model_validate({**fields, **changes})


def index_of(counts: tuple[int, int, int] = (4, 1, 1), prefix: str = "p") -> pd.DataFrame:
    splits = [name for name, n in zip(SPLITS, counts, strict=True) for _ in range(n)]
    first = np.arange(len(splits)) % 2
    return pd.DataFrame(
        {
            "record_id": [f"{prefix}{i:03d}" for i in range(len(splits))],
            "patient_id": [f"{prefix}{i}" for i in range(len(splits))],
            "split": splits,
            "W": first,
            "REM": 1 - first,
        }
    )


def windows_of(count: int = 6, seed: int = 0) -> np.ndarray:
    """Draw float32 windows (window, 3 modalities, 3 patches, 100 samples), a tenth of them NaN."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (count, 3, 3, 100)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    return values
