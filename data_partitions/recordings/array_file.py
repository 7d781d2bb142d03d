"""An array in an npy file, or in an npz archive, of which parts are read. Nothing is unpickled."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from shutil import copyfileobj
from typing import IO
from weakref import finalize

import numpy as np

from data_partitions.errors import DataError
from data_partitions.expansion import require_plausible_size
from data_partitions.sentences import shorten
from data_partitions.temporary import open_temporary_file, scratch_path


class ArrayFile:
    """An array of numbers in an npy file or, by its name or alone, in an npz archive.

    `npy` is the file, or a temporary copy of the `member` of the archive. DataError when it cannot be read or
    has no such array.
    """

    def __init__(self, file: Path, name: str) -> None:
        self.file = file
        self.member = ""
        with refuse_damage(file):
            if zipfile.is_zipfile(file):
                self.member = _find_member(file, name)
                self.npy, self._copy = _extract(file, file.stat().st_mtime_ns, self.member)
            else:
                self.npy = file
            array = np.load(self.npy, mmap_mode="r", allow_pickle=False)
        self.shape, self.dtype = array.shape, array.dtype
        if self.dtype.kind not in "fiub":
            raise DataError(f"{file} has an array of {self.dtype}, expected numbers")

    def opened(self) -> np.ndarray:
        """Return the array as a memory map, to be dropped after use, as its pages count as memory."""
        with refuse_damage(self.file):
            return np.load(self.npy, mmap_mode="r", allow_pickle=False)


def read_texts(file: Path, name: str) -> list[str]:
    """Read the texts or whole numbers of an array in an npz archive; DataError if it has none."""
    with refuse_damage(file):
        if not zipfile.is_zipfile(file):
            raise DataError(f"{file} is not an npz archive, and so has no array {shorten(name)}")
        _find_member(file, name)
        with np.load(file, allow_pickle=False) as arrays:
            array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise DataError(f"{file}: {shorten(name)} is not a list of names")
    return [text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in array.tolist()]


@contextmanager
def refuse_damage(file: Path) -> Iterator[None]:
    """Turn errors of numpy and zipfile into a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # damaged headers raise errors of many kinds, also of the tokenizer
        reason = getattr(error, "strerror", None) or shorten(error, 100)
        raise DataError(f"{file} cannot be read as arrays of numbers ({reason})") from None


def _find_member(file: Path, name: str) -> str:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        require_plausible_size(file, file.stat().st_size, max((m.file_size for m in members), default=0))
    names = [member.filename[:-4] for member in members if member.filename.endswith(".npy")]
    if name in names:
        return f"{name}.npy"
    listed = shorten(", ".join(names), 120) or "none"
    if name:
        raise DataError(f"{file} has no array {shorten(name)}: it has {listed}")
    if len(names) != 1:
        raise DataError(
            f"{file} has the arrays {listed}: give the name of the samples as `values` in the description"
        )
    return f"{names[0]}.npy"


@lru_cache(maxsize=2)
def _extract(file: Path, _: int, member: str) -> tuple[Path, IO[bytes]]:
    """Copy a member to a temporary file, which is removed when nobody uses its object."""
    descriptor, path = open_temporary_file(scratch_path("condi-array"))
    copy = open(descriptor, "w+b")
    finalize(copy, path.unlink, missing_ok=True)
    with zipfile.ZipFile(file) as archive, archive.open(member) as source:
        copyfileobj(source, copy, 1 << 20)
    copy.flush()
    return path, copy
