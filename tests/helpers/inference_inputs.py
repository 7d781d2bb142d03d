"""A partition and WFDB records of generated leads, for models with random weights."""

import numpy as np
import pandas as pd
import wfdb

from data_partitions.manifest import Manifest
from data_partitions.partition import write_partition
from tests.helpers.generated_run import schema

SCHEMA = schema()
WINDOWS = 37


def record(folder, name, seconds=2, seed=0, gaps=True, leads=("I", "II", "V1")):
    rng = np.random.default_rng(seed)
    samples = (1000 * rng.standard_normal((seconds * 100, len(leads))).cumsum(0) / 10).astype(int)
    if gaps:
        samples[50:90, 0] = -(2**15)
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name, 100, ["mV"] * len(leads), list(leads), d_signal=samples, fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads), baseline=[0] * len(leads), write_dir=str(folder),
    )  # fmt: skip
    return samples


def partition(path, absent=(), site="north", windows_schema=SCHEMA):
    """Write a partition of 37 windows, half of whose samples are missing."""
    rng = np.random.default_rng(1)
    windows = rng.standard_normal((WINDOWS, *windows_schema.shape)).cumsum(-1).astype(np.float32)
    windows[rng.random(windows.shape) < 0.5] = np.nan
    modalities = [
        {"name": m.name, "unit": "mV", "rate": 100, "samples_per_patch": 10, "present": m.name not in absent}
        for m in windows_schema.modalities
    ]
    manifest = Manifest(
        dataset="generated", version="1", site=site, modalities=modalities, patch_seconds=0.1,
        patches=windows_schema.patches, labels=windows_schema.labels, task="multi-label", label_rule="none",
        license="none", made_by="a test", windows={"train": 0, "val": 0, "test": WINDOWS},
    )  # fmt: skip
    ids = [f"r{i}" for i in range(WINDOWS)]
    index = pd.DataFrame({"record_id": ids, "patient_id": ids, "split": "test"})
    write_partition(path, manifest, index.assign(well=1, ill=0), windows)
    return path
