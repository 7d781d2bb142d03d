"""Temporary files and directories that are removed after their owner, even if it was killed.

Their names are `.<name>.<8 hexadecimal digits>.tmp`. The owner holds a lock as long as it lives: on the file
itself, or for a directory on a file beside it, `.<name>.<digits>.tmp.lock`.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_partitions.locks import InUseError, hold_lock, is_file_of

PRIVATE_DIRECTORY = 0o700
TEMPORARY_NAME = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp(?P<lock>\.lock)?", re.DOTALL)


def scratch_path(name: str) -> Path:
    """Return a path in the system's folder of temporary files, where what was abandoned of it is removed."""
    folder = Path(tempfile.gettempdir())
    remove_abandoned(folder, name)
    return folder / name


def temporary_path(path: Path) -> Path:
    """Return a new path next to `path`, under a name by which `remove_abandoned` recognises it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def temporary_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory at a `temporary_path`; what is there at the end of the block is removed."""
    with hold_lock(_lock_of(path), path, wait=True):
        try:
            path.mkdir()
            path.chmod(PRIVATE_DIRECTORY)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def open_temporary_file(path: Path) -> tuple[int, Path]:
    """Return a descriptor and the path of a new file next to `path`, which is locked until it is closed."""
    while True:
        temporary = temporary_path(path)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with suppress(OSError):  # on a file system without locks, no process removes the files of others
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if is_file_of(descriptor, temporary):
            return descriptor, temporary
        os.close(descriptor)  # another process has removed it before it was locked


def remove_abandoned(folder: Path, name: str = "") -> None:
    """Remove temporary files and directories whose owners have ended.

    Parameters
    ----------
    folder
        Where they are; what is in its folders stays.
    name
        The name of what was to be written; "" for all.
    """
    with suppress(OSError):  # what cannot be read or removed is another user's
        for entry in list(os.scandir(folder)):
            match = TEMPORARY_NAME.fullmatch(entry.name)
            if match and name in ("", match["name"]):
                path = Path(entry.path).with_name(entry.name.removesuffix(".lock"))
                with suppress(OSError, InUseError):
                    _remove_if_abandoned(path, match["lock"] or entry.is_dir(follow_symlinks=False))


def _remove_if_abandoned(path: Path, is_directory: object) -> None:
    if is_directory:
        with hold_lock(_lock_of(path), path):
            shutil.rmtree(path, ignore_errors=True)
        return
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_file_of(descriptor, path):
            path.unlink()
    finally:
        os.close(descriptor)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
