"""A site's completed windows: made once by the frozen imputer, and stored on the site's disk.

They are stored by split, with the masks of what was observed, under a hash of all that they depend on. Phase
2 reads them by row, memory-mapped. A site that has lost them reports that, and is sent the imputer again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch

from client_app.node.completion_cache import VALUES_SUFFIX, completions_folder, remove_unusable
from client_app.node.masks import pack_masks, unpack_masks
from client_app.node.site import Site
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import PLUGINS, Method
from condi_core.protocol import fingerprint
from condi_core.training import derive_seed
from condi_core.windows import iterate_blocks
from data_partitions import DataError
from data_partitions.locks import hold_lock
from data_partitions.manifest import SPLITS, Split
from data_partitions.storage import atomic_write, make_private_directory

MAX_CACHED_COMPLETIONS = 12  # per partition: those of three splits for four imputers; the oldest are removed


class CompletionsMissingError(LookupError):
    """The site has no completed windows for this imputer; it must receive `complete` first."""


class StoredCompletion(NamedTuple):
    """Completed windows of a split, memory-mapped, in the order of its labelled rows.

    `values` are float32 `(window, draw, modality, patch, sample)` in source units; `packed_observed` are the
    masks of what was observed in the run, as `pack_masks` returns them.
    """

    values: np.ndarray
    packed_observed: np.ndarray

    def observed(self, positions: np.ndarray) -> np.ndarray:
        """Bool masks `(window, modality, patch, sample)` of some windows."""
        return unpack_masks(self.packed_observed[positions], self.values.shape[2:])


def cache_path(site: Site, method: Method, imputer_hash: str, split: Split) -> Path:
    """Return the path of the completed values of a split, which need not exist.

    The name is a hash of everything that completions depend on. It covers all settings of the imputer, so
    that one that is added later cannot be forgotten here.
    """
    config = site.config
    dependencies = {
        "code": fingerprint(),
        "method": method.name,
        "imputer": imputer_hash,
        "settings": config.imputer.model_dump(),
        "draws": config.task.completions,
        "missingness": dict(site.missingness(split)),
        "seed": config.seed,
        "site": site.name,
        "partition": site.fingerprint,
        "split": split,
    }
    if options := config.options_of(method.name):
        dependencies["options"] = options
    if method.name in PLUGINS:
        dependencies["package"] = PLUGINS[method.name].fingerprint
    digest = hashlib.sha256(json.dumps(dependencies).encode()).hexdigest()
    return completions_folder(site.partition, site.cache) / f"{digest[:32]}{VALUES_SUFFIX}"


def _observed_path(values: Path) -> Path:
    return values.with_name(values.name.replace(".values.", ".observed."))


def complete(
    site: Site, method: Method, imputer: DiffusionImputer, imputer_hash: str, splits: Sequence[Split] = SPLITS
) -> None:
    """Complete and store the labelled windows of the splits that are not stored yet.

    Parameters
    ----------
    site : Site
    method : Method
        Its `complete` completes windows.
    imputer : DiffusionImputer
        The frozen imputer, on the site's device.
    imputer_hash : str
        Hash of the imputer's weights, on which the name of the files depends.
    splits : sequence of str

    Raises
    ------
    DataError
        When the disk is full or cannot be written; the splits that this call has stored are then removed.
    """
    written: list[Path] = []
    try:
        for split in splits:
            path = cache_path(site, method, imputer_hash, split)
            make_private_directory(path.parent)
            with hold_lock(path.with_suffix(".lock"), path, wait=True):  # two runs may need the same windows
                if path.exists() and _observed_path(path).exists():
                    os.utime(path)
                    continue
                _write(path, site, method, imputer, site.labelled_rows(split))
                written.append(path)
    except OSError as error:
        for path in written:
            _remove(path)
        raise DataError(
            f"completed windows cannot be stored in {site.cache} ({error.strerror}): free some space, "
            "perhaps with `condi cache clear`, or choose another --cache"
        ) from None
    if written:
        _evict_oldest(written[0].parent)
        remove_unusable(site.cache)


def _write(path: Path, site: Site, method: Method, imputer: DiffusionImputer, rows: np.ndarray) -> None:
    """Write completed values, and then the masks of what was observed."""
    if method.complete is None:
        raise ValueError(f"method {method.name} completes no windows")
    draws = max(site.config.task.completions, 1)
    packed: list[np.ndarray] = []
    with atomic_write(path) as file:
        _write_header(file, "<f4", (len(rows), draws, *site.schema.shape))
        for block in iterate_blocks(rows):
            seed = derive_seed(site.config.seed, "complete", site.name, int(block[0]))
            generator = torch.Generator().manual_seed(seed)
            windows = site.read(block)
            packed.append(pack_masks(windows.observed.numpy()))
            values, observed = site.to_device(*windows)
            completed = method.complete(imputer, values, observed, site.config.task.completions, generator)
            file.write(completed.transpose(0, 1).cpu().contiguous().numpy().astype("<f4").tobytes())
        width = -(-int(np.prod(site.schema.shape)) // 8)
        with atomic_write(_observed_path(path)) as masks:
            _write_header(masks, "|u1", (len(rows), width))
            masks.writelines(part.tobytes() for part in packed)


def _write_header(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})


def _remove(path: Path) -> None:
    for file in (path, _observed_path(path)):
        file.unlink(missing_ok=True)


def _evict_oldest(folder: Path) -> None:
    """Remove all but the latest completions of a partition; another run may do so at the same time."""
    ages = {}
    for file in folder.glob(f"*{VALUES_SUFFIX}"):
        try:
            ages[file] = file.stat().st_mtime
        except FileNotFoundError:
            continue
    for path in sorted(ages, key=ages.__getitem__)[:-MAX_CACHED_COMPLETIONS]:
        _remove(path)


def load(site: Site, method: Method, imputer_hash: str, split: Split) -> StoredCompletion:
    """Load the completion of a split, memory-mapped; CompletionsMissingError when there is none."""
    path = cache_path(site, method, imputer_hash, split)
    try:
        os.utime(path)  # `condi cache` shows when it was last used, and the oldest are removed first
        return StoredCompletion(
            np.load(path, mmap_mode="r", allow_pickle=False),
            np.load(_observed_path(path), mmap_mode="r", allow_pickle=False),
        )
    except FileNotFoundError:
        raise CompletionsMissingError(
            "completed windows are missing at this site; send the imputer again"
        ) from None
