"""Start runs of `condi` for benchmarks, and read their imputer and the windows of all sites."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.missingness import Missingness, missingness_mask, sample_training_missingness
from condi_core.run_files import read_config, read_history, weights_path
from condi_core.weights_file import load_imputer
from condi_core.windows import Schema
from data_partitions.federation import open_federation

# No missingness other than the source's own, because other imputers train without; phase 2 is minimal.
COMMON_SETTINGS = (
    "compare-with='' missingness.points=0.0 missingness.gaps=0.0 missingness.modality-by-window=0.0 "
    "imputer.samples=0 task.rounds=1 task.steps=1 task.batch=1 task.width=2 task.heads=1 task.blocks=1"
)


class Run(NamedTuple):
    """The imputer of a finished run, with its settings and its cost."""

    imputer: DiffusionImputer
    schema: Schema
    config: RunConfig
    seconds: dict[str, float]  # of training in each phase, summed over sites


def run_federation(federation: Path, settings: str) -> Run:
    """Run a federation with `condi run`; the run folder is next to it."""
    run_condi("run", "--federation", federation, "--out", federation.parent, "--name", "run",
         "-c", f"{settings} {COMMON_SETTINGS}")  # fmt: skip
    folder, seconds = federation.parent / "run", Counter()
    for line in read_history(folder):
        seconds[line["phase"]] += sum(line["site-seconds"].values())
    return Run(*load_imputer(weights_path(folder, "imputer")), read_config(folder), seconds)


def run_condi(*arguments: object) -> None:
    """Run `condi` with these arguments."""
    subprocess.run([Path(sys.executable).with_name("condi"), *map(str, arguments)], check=True)


class Pool(NamedTuple):
    """Windows of all sites: values and observed `(window, modality, patch, sample)`, and their record ids."""

    values: np.ndarray
    observed: np.ndarray
    records: np.ndarray

    def select(self, rows: np.ndarray | slice) -> Pool:
        """Return some of the windows."""
        return Pool(*(array[rows] for array in self))

    def spread(self, count: int) -> Pool:
        """Return `count` windows, evenly spaced over all."""
        return self.select(np.unique(np.linspace(0, len(self.records) - 1, count).astype(int)))

    def hidden(self, choices: Iterable[tuple[Missingness, int]]) -> np.ndarray:
        """Return which samples of each window are hidden by its missingness and seed."""
        windows = zip(*self, choices, strict=False)
        return np.stack(
            [
                missingness_mask(v, o, missingness, seed=seed, record_id=r)
                for v, o, r, (missingness, seed) in windows
            ]
        )


def pool(federation: Path, split: str) -> Pool:
    """Read the windows of one split of all sites."""
    opened = open_federation(federation)
    sites = [(site, site.rows(split)) for site in map(opened.open_site, opened.sites)]
    parts = [(*site.read(rows), site.record_ids[rows]) for site, rows in sites]
    return Pool(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def training_windows(windows: Pool, count: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Yield values, conditioning and target of `count` windows, without end, with training missingness."""
    while True:
        batch = windows.select(rng.integers(0, len(windows.records), count))
        target = batch.hidden(
            (sample_training_missingness(rng), int(rng.integers(2**62))) for _ in range(count)
        )
        yield tuple(torch.from_numpy(part) for part in (batch.values, batch.observed & ~target, target))
