"""Directories and files that appear complete or not at all, and JSON with one-sentence errors."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from data_partitions.errors import DataError

JsonModel = TypeVar("JsonModel", bound=BaseModel)


def require_absent(path: Path) -> None:
    """Raise DataError when something is at `path`, because nothing that was written is ever replaced."""
    if os.path.lexists(path):
        raise DataError(f"{path} exists already: choose another path, or remove it first")


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty directory next to `path`; it becomes `path` when the block succeeds.

    When the block raises, the directory and any parent that was made for it are removed.

    Raises
    ------
    DataError
        `path` exists or cannot be made.
    """
    path = Path(path)
    require_absent(path)
    new_parents = [parent for parent in path.parents if not parent.exists()]
    temp = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temp.mkdir()
        except OSError as error:
            raise DataError(f"cannot write to {path} ({error.strerror}): choose another path") from None
        yield temp
        require_absent(path)
        os.rename(temp, path)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        for parent in new_parents:  # innermost first
            with suppress(OSError):
                parent.rmdir()
        raise


@contextmanager
def atomic_write(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield a file that replaces what is at `path` when the block succeeds; OSError when it cannot."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            yield file
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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
