"""Directories and files that appear complete or not at all, and JSON with one-sentence errors."""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from data_partitions.errors import DataError
from data_partitions.locks import hold_lock
from data_partitions.temporary import (
    PRIVATE_DIRECTORY,
    open_temporary_file,
    remove_abandoned,
    temporary_directory,
    temporary_path,
)

PRIVATE_FILE = 0o600

JsonModel = TypeVar("JsonModel", bound=BaseModel)


def require_absent(path: Path) -> None:
    """Raise DataError when something is at `path`, because nothing that was written is ever replaced."""
    if os.path.lexists(path):
        raise DataError(f"{path} exists already: choose another path, or remove it first")


def make_private_directory(path: Path) -> list[Path]:
    """Make a directory and its missing parents, private to this user; return those made, innermost first."""
    made: list[Path] = []
    try:
        for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
            with suppress(FileExistsError):  # another process was faster
                missing.mkdir()
                made.insert(0, missing)
                missing.chmod(PRIVATE_DIRECTORY)
                sync_directory(missing.parent)
    except BaseException:
        _remove_empty(made)
        raise
    return made


def reserve_output(path: Path, wait: bool = False) -> AbstractContextManager[None]:
    """Keep other processes from writing `path` while the block runs; its parents are made if necessary.

    Parameters
    ----------
    path
        What is written, all at once.
    wait
        Wait until another process has ended, instead of raising.

    Raises
    ------
    InUseError
        Another process writes it.
    DataError
        Nothing can be written there.
    """
    return _reserve(path, path.with_name(f".{path.name}.lock"), path.name, wait)


def reserve_folder(path: Path) -> AbstractContextManager[None]:
    """Keep other processes from writing into a folder while the block runs, as `reserve_output` does."""
    return _reserve(path, path / ".lock", "", False)


@contextmanager
def _reserve(path: Path, lock: Path, name: str, wait: bool) -> Iterator[None]:
    made: list[Path] = []
    with ExitStack() as stack:
        stack.callback(lambda: _remove_empty(made))
        try:
            made += make_private_directory(lock.parent)
            stack.enter_context(hold_lock(lock, path, wait))
        except OSError as error:
            raise DataError(f"cannot write to {path} ({error.strerror}): choose another path") from None
        remove_abandoned(lock.parent, name)
        yield


@contextmanager
def atomic_directory(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield an empty directory next to `path`; it becomes `path` when the block succeeds.

    When the block raises, the directory and any parent that was made for it are removed. What a killed
    process has left of the same directory is removed first.

    Parameters
    ----------
    path
        The directory, which is private to this user, as are its files.
    durable
        Flush files to disk first, so that the directory is complete even after a power failure.

    Raises
    ------
    DataError
        `path` exists or cannot be made.
    """
    path = Path(path)
    require_absent(path)
    made: list[Path] = []
    with ExitStack() as stack:
        stack.callback(lambda: _remove_empty(made))
        try:
            made += make_private_directory(path.parent)
            remove_abandoned(path.parent, path.name)
            temporary = stack.enter_context(temporary_directory(temporary_path(path)))
        except OSError as error:
            raise DataError(f"cannot write to {path} ({error.strerror}): choose another path") from None
        yield temporary
        publish_directory(temporary, path, durable)


def publish_directory(temporary: Path, path: Path, durable: bool = True) -> None:
    """Rename a directory to `path`, after all in it was made private and flushed to disk."""
    require_absent(path)
    for folder, _, names in os.walk(temporary, topdown=False):
        for name in names:
            make_private_file(Path(folder, name), durable)
        os.chmod(folder, PRIVATE_DIRECTORY)
        if durable:
            sync_directory(Path(folder))
    os.rename(temporary, path)
    sync_directory(path.parent)


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open`, private to this user if it is new."""
    return os.open(path, flags, PRIVATE_FILE)


def make_private_file(path: Path, durable: bool = True) -> None:
    """Make a complete file private to this user, and flush it to disk."""
    path.chmod(PRIVATE_FILE)
    if durable:
        with open(path, "rb") as file:
            os.fsync(file.fileno())


@contextmanager
def atomic_write(path: Path, mode: int = PRIVATE_FILE) -> Iterator[BinaryIO]:
    """Yield a file that replaces what is at `path` when the block succeeds; OSError when it cannot."""
    descriptor, temporary = open_temporary_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(temporary, path)
        sync_directory(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Flush a directory to disk: without that, a power failure undoes what was renamed in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of file systems that keep directories in order themselves
            raise
    finally:
        os.close(descriptor)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def read_json(path: Path, model: type[JsonModel]) -> JsonModel:
    """Read a JSON file into a pydantic model.

    Raises
    ------
    DataError
        The content is not that of the model; the message names the first key that is wrong.
    FileNotFoundError
        There is no such file. The caller knows what was expected there.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        subject = f'key "{key}"' if key else "the content"
        raise DataError(f"{path}: {subject} is wrong: {first['msg']}; write the file again") from None
