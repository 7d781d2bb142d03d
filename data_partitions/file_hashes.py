"""Hashes of whole files, which are remembered by the size, times and inode of a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

# A file that changes again within the resolution of the file system's clock keeps its times. FAT has 2 s.
SETTLED_SECONDS = 3.0


class HashedFile(BaseModel):
    """The hash of a file, and its size, times and inode when it was read.

    The time of the last change to the inode (ctime) cannot be set, so that also a file that was replaced by
    one with the same size and the same time of modification is read again.
    """

    model_config = ConfigDict(frozen=True)

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


class FileHashes:
    """Hashes of files by path; a file that has not changed since it was hashed is not read again.

    Parameters
    ----------
    remembered
        Hashes from earlier, by path. Files that changed a moment before they were hashed are not in `files`,
        as another change could leave their times as they are.

    Attributes
    ----------
    files
        What may be remembered of the files that were asked for.
    """

    def __init__(self, remembered: Mapping[str, HashedFile] | None = None) -> None:
        self.files: dict[str, HashedFile] = {}
        self._remembered = remembered or {}

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file as hexadecimal digits."""
        key = os.path.abspath(path)
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            known = self._remembered.get(key)
            if known and known == _describe(before, known.sha256):
                self.files[key] = known
                return known.sha256
            settled_ns = time.time_ns() - int(SETTLED_SECONDS * 1e9)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashed = _describe(before, digest)
            is_settled = max(hashed.mtime_ns, hashed.ctime_ns) < settled_ns
            if is_settled and hashed == _describe(os.fstat(file.fileno()), digest):
                self.files[key] = hashed
        return digest


def _describe(status: os.stat_result, sha256: str) -> HashedFile:
    return HashedFile(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        sha256=sha256,
    )
