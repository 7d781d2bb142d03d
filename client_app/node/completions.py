"""A site's completed windows: made once by the frozen imputer, kept on the site's disk.

Kept by split, under a key of all they depend on: imputer, holes, seed, number of draws, partition. Phase 2
reads them by row, memory-mapped; a site that lost them answers so and is sent the imputer again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from client_app.node.imputer_phase import blocks
from client_app.node.site import Site
from condi_core.imputer.imputer import Imputer
from condi_core.methods import Method
from condi_core.protocol import fingerprint
from condi_core.training import derive_seed
from data_partitions.manifest import SPLITS
from data_partitions.storage import atomic_write

MAX_CACHED_FILES = (
    12  # files of one partition kept on disk: four completions of all splits; the oldest are removed
)


class CompletionMissing(LookupError):
    """The site has no completed windows for this imputer; it must be sent to `complete` first."""


def cache_path(site: Site, method: Method, imputer_hash: str, split: str) -> Path:
    """Where the completed windows of a split of this site, run and imputer are or will be."""
    partition = site.partition.fingerprint()
    depends = [
        fingerprint(),
        method.name,
        imputer_hash,
        site.config.seed,
        split,
        site.config.missingness_for_split(split).model_dump(),
        site.config.task.completions,
        site.config.imputer.sampling_steps,
        partition,
    ]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return site.cache / partition[:16] / f"{digest[:32]}.npy"


def complete(
    site: Site, method: Method, imputer: Imputer, imputer_hash: str, splits: Sequence[str] = SPLITS
) -> None:
    """Complete the windows of some splits, each unless that was done before.

    Where there is no room for all that are lacking none of these is kept.
    """
    made: list[Path] = []
    try:
        for split in splits:
            path = cache_path(site, method, imputer_hash, split)
            if path.exists():
                os.utime(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, site, method, imputer, site.partition.rows(split))
            made.append(path)
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    if made:
        _evict_oldest(made[0].parent)


def _write(path: Path, site: Site, method: Method, imputer: Imputer, rows: np.ndarray) -> None:
    draws = max(site.config.task.completions, 1)
    with atomic_write(path) as file:
        shape = (len(rows), draws, *site.schema.shape)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in blocks(rows):
            seed = derive_seed(site.config.seed, "complete", site.name, int(block[0]))
            generator = torch.Generator().manual_seed(seed)
            windows = site.to_device(*site.read(block))
            filled = method.fill(imputer, *windows, site.config.task.completions, generator)
            file.write(filled.transpose(0, 1).cpu().contiguous().numpy().astype("<f4").tobytes())


def _evict_oldest(folder: Path) -> None:
    """Keep the latest completions of a partition; another run may be doing the same at this moment."""
    ages = {}
    for file in folder.glob("*.npy"):
        try:
            ages[file] = file.stat().st_mtime
        except FileNotFoundError:
            continue
    for old in sorted(ages, key=ages.get)[:-MAX_CACHED_FILES]:
        old.unlink(missing_ok=True)


def load(site: Site, method: Method, imputer_hash: str, split: str) -> np.ndarray:
    """Completed windows `(window, draw, modality, patch, sample)` of a split, memory-mapped.

    They are in source units, and in the order of the split's rows.
    """
    try:
        return np.load(cache_path(site, method, imputer_hash, split), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CompletionMissing(
            "completed windows are missing here; the imputer must be sent again"
        ) from None
