"""Generated limb leads, in files of other people, and a run that has learnt how these leads depend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.federation import write_federation
from data_partitions.manifest import Manifest, Modality
from tests.helpers.finished_runs import run_in
from tests.helpers.run_settings import small_run_settings
from tests.helpers.wfdb_files import MISSING

LEADS = ("I", "II", "III")
RATE, PATCHES, SAMPLES = 100, 20, 10  # windows of 2 s
HOLE = slice(120, 180)  # of lead II in `with_hole`


def ecg(seconds: float = 4, seed: int = 0, beats_per_second: float = 1.2, rate: int = RATE) -> np.ndarray:
    """Return the limb leads `(time, lead)` in mV, of which each is a sum of the others, with little noise."""
    time = np.arange(round(seconds * rate)) / rate
    phase = beats_per_second * time % 1

    def wave(centre: float, width: float, height: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((phase - centre) / width) ** 2)

    lead_ii = wave(0.2, 0.03, 0.15) + wave(0.4, 0.012, 1.0) + wave(0.43, 0.012, -0.2) + wave(0.65, 0.05, 0.3)
    lead_i = wave(0.2, 0.03, 0.08) + wave(0.4, 0.015, 0.5) + wave(0.43, 0.012, -0.3) + wave(0.65, 0.05, 0.2)
    leads = np.stack([lead_i, lead_ii, lead_ii - lead_i], 1)
    return leads + 0.005 * np.random.default_rng(seed).standard_normal(leads.shape)


def with_hole(leads: np.ndarray) -> np.ndarray:
    """Return digital samples at 1000 per mV, of which lead II has a hole."""
    digital = np.round(1000 * leads).astype(int)
    digital[HOLE, 1] = MISSING
    return digital


def hole_error(completed: np.ndarray, leads: np.ndarray) -> float:
    """Return the root mean square error in the hole, in mV, of digital samples `(time, lead)`."""
    return float(np.sqrt(np.mean((completed[HOLE, 1] / 1000 - leads[HOLE, 1]) ** 2)))


def write_ecg_federation(path: Path, site: str) -> Path:
    """Write a federation of one site with windows of the leads, and return it."""
    manifest = Manifest(
        dataset="limb-leads", version="1", site=site, license="none", made_by="a test",
        modalities=[
            Modality(name=name, unit="mV", rate=RATE, samples_per_patch=SAMPLES, present=True, range=(-5, 5))
            for name in LEADS
        ],
        patch_seconds=SAMPLES / RATE, patches=PATCHES, labels=("slow", "fast"), task="multi-label",
        label_rule="by frequency", windows={"train": 40, "val": 4, "test": 4},
    )  # fmt: skip
    splits = ["train"] * 40 + ["val"] * 4 + ["test"] * 4
    fast = np.arange(len(splits)) % 2 == 0
    ids = [f"r{i}" for i in range(len(splits))]
    index = pd.DataFrame({"record_id": ids, "patient_id": ids, "split": splits})
    index = index.assign(slow=(~fast).astype(int), fast=fast.astype(int))
    windows = [
        ecg(PATCHES * SAMPLES / RATE, seed, 1.6 if fast[seed] else 1.0).T.reshape(manifest.shape)
        for seed in range(len(splits))
    ]
    parts = [(manifest, index, windows)]
    return write_federation(path, parts, dataset="limb-leads", split="natural", seed=0, made_by="a test").path


def write_ecg_run(folder: Path) -> Path:
    """Train on windows of the leads, with which a hole is filled to 0.05 mV; return the run directory."""
    federation = write_ecg_federation(folder / "federation", "north")
    return run_in(folder, federation, small_run_settings({"name": "ecg", "sites-timeout": 0.2}))
