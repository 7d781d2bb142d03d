"""Locks on what a process writes, which the system releases however the process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from data_partitions.errors import DataError

MAX_HOLDER_BYTES = 300  # read of the text by which a lock file names its holder


class InUseError(DataError):
    """Another process writes the same output; the message names the process."""


@contextmanager
def hold_lock(file: Path, subject: object, wait: bool = False) -> Iterator[None]:
    """Hold a lock while the block runs.

    The lock is flock's, which belongs to the open file: that of a killed process is free, and the next one
    takes it over. It is exclusive among the processes of a machine, and among machines that share a folder
    if its file system passes locks on, as NFS does unless it is mounted with `nolock` or `local_lock`.

    Parameters
    ----------
    file
        File of the lock, which is removed at the end of the block. Its text names the process.
    subject
        What is locked, for the message.
    wait
        Wait for the holder to end, instead of raising.

    Raises
    ------
    InUseError
        Another process holds the lock.
    DataError
        The file system has no locks.
    OSError
        The file cannot be made.
    """
    descriptor = _acquire(file, subject, wait)
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # before the lock is released, so that nobody else's file is removed
        os.close(descriptor)


def _acquire(file: Path, subject: object, wait: bool) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if is_file_of(descriptor, file):
                _write_holder(descriptor)
                return descriptor
        except BlockingIOError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise InUseError(f"{subject} is in use by {holder}: wait for it to end, or stop it") from None
        except OSError as error:
            os.close(descriptor)
            raise DataError(
                f"{subject} cannot be locked ({error.strerror}): choose a folder whose file system has locks"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has removed the file since it was opened


def is_file_of(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    text = f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
    with suppress(OSError):  # with a full disk, the lock holds without a text
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _read_holder(descriptor: int) -> str:
    text = os.pread(descriptor, MAX_HOLDER_BYTES, 0).decode(errors="replace")
    return "".join(c for c in text if c.isprintable()) or "another process"
