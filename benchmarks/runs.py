"""Runs of `condi` for benchmarks: what a run has left, and the windows of all sites."""

from __future__ import annotations

import json
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
from condi_core.imputer.imputer import Imputer
from condi_core.weights_file import load_imputer
from condi_core.windows import Schema
from data_partitions.federation import open_federation
from data_partitions.missingness import Missingness, missingness_mask, sample_training_missingness

# Without holes but the source's own, as outside imputers see none; phase 2 as small as can be.
ALWAYS = (
    "compare-with='' missingness.points=0.0 missingness.gaps=0.0 missingness.modality-by-window=0.0 imputer.samples=0 "
    "task.rounds=1 task.steps=1 task.batch=1 task.width=2 task.heads=1 task.blocks=1"
)


class Run(NamedTuple):
    """What a run has left."""

    imputer: Imputer
    schema: Schema
    config: RunConfig
    seconds: dict[str, float]  # that sites trained, all added up, of each phase


def carry_out(federation: Path, settings: str) -> Run:
    """Run a federation by `condi run`, in a folder beside it."""
    call("run", "--federation", federation, "--out", federation.parent, "--name", "run",
         "-c", f"{settings} {ALWAYS}")  # fmt: skip
    folder, seconds = federation.parent / "run", Counter()
    for line in map(json.loads, (folder / "history.jsonl").read_text().splitlines()):
        seconds[line["phase"]] += sum(line["site-seconds"].values())
    config = RunConfig.from_flat(json.loads((folder / "config.json").read_text()))
    return Run(*load_imputer(folder / "imputer.safetensors"), config, seconds)


def call(*arguments: object) -> None:
    """Run `condi` with these arguments."""
    subprocess.run([Path(sys.executable).with_name("condi"), *map(str, arguments)], check=True)


class Pool(NamedTuple):
    """Windows of all sites: values and observed `(window, modality, patch, sample)`, and their records."""

    values: np.ndarray
    observed: np.ndarray
    records: np.ndarray

    def of(self, rows: np.ndarray | slice) -> Pool:
        return Pool(*(part[rows] for part in self))

    def spread(self, count: int) -> Pool:
        """As many windows, evenly spread over all."""
        return self.of(np.unique(np.linspace(0, len(self.records) - 1, count).astype(int)))

    def hidden(self, choices: Iterable[tuple[Missingness, int]]) -> np.ndarray:
        """What is hidden of each window by holes and a seed."""
        windows = zip(*self, choices, strict=False)
        return np.stack(
            [
                missingness_mask(v, o, missingness, seed=seed, record_id=r)
                for v, o, r, (missingness, seed) in windows
            ]
        )


def pool(federation: Path, split: str) -> Pool:
    opened = open_federation(federation)
    sites = [(site, site.rows(split)) for site in map(opened.open_site, opened.sites)]
    parts = [(*site.read(rows), site.record_ids[rows]) for site, rows in sites]
    return Pool(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def training_windows(windows: Pool, count: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Endless batches of `count` windows under the holes of CondI's training: values, seen, target."""
    while True:
        some = windows.of(rng.integers(0, len(windows.records), count))
        target = some.hidden(
            (sample_training_missingness(rng), int(rng.integers(2**62))) for _ in range(count)
        )
        yield tuple(torch.from_numpy(part) for part in (some.values, some.observed & ~target, target))
