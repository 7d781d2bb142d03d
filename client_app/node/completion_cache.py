"""The folder in which a site keeps completed windows, and what it remembers of its partitions.

cache/
  <16 digits>/             of one partition, named by a hash of its path
    partition.json         its path and fingerprint, and the hashes of its files (`PartitionRecord`)
    <32 digits>.values.npy, <32 digits>.observed.npy
                           completed windows of a split and their masks, see `completions`
    <32 digits>.relation.npz
                           the relation between modalities at the site, see `site_relation`

What belongs to a partition that has changed or is gone is removed. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from data_partitions.file_hashes import FileHashes, HashedFile
from data_partitions.layout import MANIFEST_FILE
from data_partitions.storage import atomic_write, make_private_directory
from data_partitions.temporary import TEMPORARY_NAME, remove_abandoned
from data_partitions.user_cache import user_cache
from data_partitions.window_store import WindowStore

RECORD_FILE = "partition.json"
VALUES_SUFFIX = ".values.npy"
RELATION_SUFFIX = ".relation.npz"
FOLDER_NAME = re.compile("[0-9a-f]{16}")


class PartitionRecord(BaseModel):
    """What is remembered of a partition, or of several that are pooled."""

    paths: list[str]
    fingerprint: str
    files: dict[str, HashedFile]


@dataclass(frozen=True)
class CachedPartition:
    """Completed windows of a partition.

    Parameters
    ----------
    paths : tuple of str
        The partition; several if they were pooled; none if an earlier version has stored the windows.
    completions : int
        How many splits are completed, each under one imputer.
    size : int
        Bytes of all files.
    last_used : float
        When a run has last used one of them, in seconds since 1970.
    """

    paths: tuple[str, ...]
    completions: int
    size: int
    last_used: float


def default_cache() -> Path:
    """Return the cache of a site whose node names none: in the user's cache folder."""
    return user_cache() / "completed"


def completions_folder(store: WindowStore, cache: Path) -> Path:
    """Return the folder of the completed windows of a partition, which need not exist."""
    name = hashlib.sha256("\0".join(_absolute_paths(store)).encode()).hexdigest()[:16]
    return cache / name


def read_fingerprint(store: WindowStore, cache: Path) -> str:
    """Return the fingerprint of a partition; only files that changed since the last call are read.

    If the partition has changed, its completed windows are removed.
    """
    folder = completions_folder(store, cache)
    record = _read_record(folder)
    hashes = FileHashes(record.files if record else None)
    fingerprint = store.fingerprint(hashes)
    current = PartitionRecord(paths=_absolute_paths(store), fingerprint=fingerprint, files=hashes.files)
    if current != record:
        record = _read_record(folder)  # another process may have written it in the meantime
        with suppress(OSError):  # if it cannot be written, the files are read again
            if not record or record.fingerprint != fingerprint:
                _remove_files(folder)
            make_private_directory(folder)
            with atomic_write(folder / RECORD_FILE) as file:
                file.write(current.model_dump_json(indent=1).encode())
    return fingerprint


def list_cached(cache: Path) -> list[CachedPartition]:
    """Return the partitions that have completed windows, the latest used first."""
    cached = []
    for folder in _folders(cache):
        record = _read_record(folder)
        states = [(file, status) for file in folder.iterdir() if (status := _status(file))]
        used = [status.st_mtime for file, status in states if file.name.endswith(VALUES_SUFFIX)]
        if used:
            paths = tuple(record.paths) if record else ()
            size = sum(status.st_size for _, status in states)
            cached.append(CachedPartition(paths, len(used), size, max(used)))
    return sorted(cached, key=lambda partition: -partition.last_used)


def remove_unusable(cache: Path) -> None:
    """Remove the completed windows of partitions that are gone, and what killed processes have left."""
    for folder in _folders(cache):
        remove_abandoned(folder)
        record = _read_record(folder)
        # Without a record, another process may be about to write it, unless there are windows already.
        if any(map(_is_gone, record.paths)) if record else any(folder.glob(f"*{VALUES_SUFFIX}")):
            _remove_files(folder)


def clear_cache(cache: Path) -> None:
    """Remove all completed windows; a site that needs them is sent the imputer again."""
    for folder in _folders(cache):
        remove_abandoned(folder)
        _remove_files(folder)


def _absolute_paths(store: WindowStore) -> list[str]:
    return [os.path.abspath(path) for path in store.paths]


def _folders(cache: Path) -> Iterator[Path]:
    """Yield the folders of partitions; whatever else is in the folder of a user's choice is left alone."""
    with suppress(FileNotFoundError):
        for folder in sorted(cache.iterdir()):
            if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                yield folder


def _read_record(folder: Path) -> PartitionRecord | None:
    try:
        return PartitionRecord.model_validate_json((folder / RECORD_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _remove_files(folder: Path) -> None:
    """Remove the files of a partition, but not those that a living process is writing."""
    with suppress(FileNotFoundError):
        for file in folder.iterdir():
            if not TEMPORARY_NAME.fullmatch(file.name):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:  # another process has removed it
        return None


def _is_gone(path: str) -> bool:
    try:
        os.stat(Path(path, MANIFEST_FILE))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # such as a partition of another user
        return False
    return False
