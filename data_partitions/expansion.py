"""Limits for small files that become gigantic when they are read, such as gzip files of zeros."""

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, cast

from data_partitions.errors import DataError

FREE_BYTES = 2**28  # what any file may expand to
MAX_EXPANSION = 200  # times its size, beyond that; tables and recordings reach about 40, gzip's limit is 1032
MAX_SAMPLES_PER_BYTE = 10_000  # of a channel, with the missing time in between
_GZIP = b"\x1f\x8b"


def require_plausible_size(file: Path, packed: int, unpacked: int) -> None:
    """Raise DataError when a compressed file is too small for what it expands to, both in bytes."""
    if unpacked > max(FREE_BYTES, MAX_EXPANSION * packed):
        raise DataError(
            f"{file} has {packed} bytes and expands to {unpacked} or more, expected at most {MAX_EXPANSION} "
            "times as many: unpack it yourself if that is right"
        )


def require_plausible_length(file: Path, files: list[Path], samples: int) -> None:
    """Raise DataError when the files of a recording are too small for a channel of that many samples."""
    size = sum(part.stat().st_size for part in files)
    if samples > MAX_SAMPLES_PER_BYTE * size:
        raise DataError(
            f"{file} states {samples} samples of a channel, but has {size} bytes: expected at most "
            f"{MAX_SAMPLES_PER_BYTE} for each byte, also where most of the time is missing"
        )


def text_bytes(column: Any) -> int:
    """Return the size of the texts of an Arrow array that holds each text once, when all are written out."""
    from pyarrow import compute

    return compute.sum(compute.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def is_gzip(file: Path) -> bool:
    """Whether a file is compressed with gzip, by its first bytes."""
    with open(file, "rb") as opened:
        return opened.read(2) == _GZIP


def open_unpacked(file: Path) -> BinaryIO:
    """Open a file, decompressed if it is compressed with gzip; reading it raises DataError as above."""
    if is_gzip(file):
        return io.BufferedReader(_GzipReader(file), 1 << 17)
    return open(file, "rb")


class _GzipReader(io.RawIOBase):
    """Reads a gzip file as long as it expands to a plausible size."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._packed = file.stat().st_size
        self._unpacked = 0
        self._content = cast(Any, gzip.open(file))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._content.readinto(buffer)
        self._unpacked += count
        require_plausible_size(self._file, self._packed, self._unpacked)
        return count

    def close(self) -> None:
        self._content.close()
        super().close()
