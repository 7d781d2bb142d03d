"""The partition of one small hospital, and the sites of a federation as a run opens them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from client_app.node.site import Site
from condi_core.config import RunConfig
from data_partitions.federation import open_federation
from data_partitions.partition import write_partition
from tests.helpers.tiny_federation import manifest, site_data


def write_site(path: Path, empty: bool = False, sizes: dict[str, int] | None = None, **changes) -> Path:
    """Write a site whose manifest differs by `changes`; with `empty` every sample of it is missing."""
    index, windows = site_data(path.name, seed=int(path.name[-1]), **(sizes or {}))
    counts = {split: int((index["split"] == split).sum()) for split in ("train", "val", "test")}
    changed = manifest(path.name, counts, **changes)
    windows = [np.resize(w, changed.shape) * (np.nan if empty else 1) for w in windows]
    index = index.rename(columns=dict(zip(("slow", "fast"), changed.labels, strict=bool(changed.labels))))
    write_partition(path, changed, index, windows)
    return path


def open_sites(path: Path, settings: dict, cache: Path | None = None) -> list[Site]:
    """Open all sites of a federation as a run with these settings does."""
    federation = open_federation(path)
    config, device = RunConfig.from_flat(settings), torch.device("cpu")
    cache = cache or path.parent / "cache"
    return [Site(name, federation.open_site(name), config, device, cache) for name in federation.sites]
