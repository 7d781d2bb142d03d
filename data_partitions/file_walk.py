"""The files below a folder, also of folders that are linked."""

import os
from collections.abc import Iterator
from pathlib import Path


def walk_files(folder: str | Path) -> Iterator[str]:
    """Yield the paths of the files below a folder, without hidden files and folders.

    Links to folders are followed, but not those to a folder that they are in, which would have no end.
    """
    yield from _walk(str(folder), frozenset())


def _walk(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the files; `above` has device and inode of the folders that the folder is in."""
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # no such folder, or one that may not be read
        return
    identity = status.st_dev, status.st_ino
    if identity in above:
        return
    folders = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            folders.append(entry.path)
        else:
            yield entry.path
    for path in folders:
        yield from _walk(path, above | {identity})
