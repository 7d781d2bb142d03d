"""The tables of MIMIC-IV by name, in any version; large ones come in chunks that fit in memory."""

import csv
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import pandas as pd

from data_partitions.errors import DataError
from data_partitions.expansion import is_gzip, require_plausible_size
from data_partitions.preparation_log import PreparationLog

# Folders of each table. In version 1.0, patients and admissions were in `core/`.
FOLDERS = {
    "patients": ("hosp", "core"),
    "admissions": ("hosp", "core"),
    "labevents": ("hosp",),
    "icustays": ("icu",),
    "chartevents": ("icu",),
    "outputevents": ("icu",),
}
EXPECTED_SOURCE = "the unpacked MIMIC-IV, version 1.0, 2.x or 3.x"
CHUNK_ROWS = 250_000
READ_BYTES = 2**16  # read from a file at a time
DECOMPRESSED_BLOCK_BYTES = 2**23  # decompressed at a time, at most
BLOCKS_AHEAD = 16
DAMAGED_FILE_ERRORS = (EOFError, OSError, zlib.error)


def find_table(source: Path, name: str) -> Path:
    """Find the file of a table, .csv.gz before .csv (which may be incomplete); DataError if there is none."""
    for folder in FOLDERS[name]:
        for ending in (".csv.gz", ".csv"):
            file = source / folder / f"{name}{ending}"
            if file.is_file():
                return file
    first, *others = FOLDERS[name]
    also = "".join(f", nor in {other}/ (version 1.0)" for other in others)
    raise DataError(
        f"there is no {source / first / name}.csv.gz or .csv{also}: give the folder of {EXPECTED_SOURCE}, as "
        "source"
    )


def read_table(source: Path, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """Read columns of a small table as text ("" where empty), without repeated rows."""
    file = find_table(source, name)
    columns = list(columns)
    chunks = stream_table(file, dict.fromkeys(columns, str), keep_default_na=False)
    return pd.concat(list(chunks)).drop_duplicates(ignore_index=True)[columns]


def columns_of(file: Path) -> list[str]:
    """Read the names in the header of a table."""
    with open(file, "rb") as opened:
        header = b""
        try:
            for block in _decompressed(opened):
                header += block
                if b"\n" in block:
                    break
            line = header.split(b"\n")[0].decode("utf-8-sig").strip()
            return next(csv.reader([line]), [])
        except DataError:
            raise
        except (ValueError, *DAMAGED_FILE_ERRORS) as error:
            raise DataError(f"{file} is not a readable csv ({_one_line(error)}): fetch it again") from None


def stream_table(
    file: Path, columns: dict[str, Any], log: PreparationLog | None = None, **options: Any
) -> Iterator[pd.DataFrame]:
    """Yield chunks of a csv file, plain or gzip whatever its name; options are those of `pandas.read_csv`.

    The file is decompressed in a thread while the preceding part is parsed, so that two cores are used.
    DataError when a column is missing, a value is not of its dtype, or the file is damaged; the message then
    says after how many rows.
    """
    names = columns_of(file)
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            f"{file} has no column {', '.join(missing)}: it has {', '.join(names)}; expected is "
            f"{EXPECTED_SOURCE}"
        )
    rows, size = 0, file.stat().st_size
    with open(file, "rb") as opened, ThreadPoolExecutor(1) as pool:
        ahead = _ReadAhead(opened, pool)
        try:
            options = {"chunksize": CHUNK_ROWS, "encoding_errors": "replace", **options}
            for chunk in pd.read_csv(cast(BinaryIO, ahead), usecols=list(columns), dtype=columns, **options):
                yield chunk
                rows += len(chunk)
                if log is not None:
                    log.progress(f"reading {file.name.split('.')[0]}", opened.tell(), size)
        except DataError:
            raise
        except (ValueError, *DAMAGED_FILE_ERRORS) as error:  # pandas' parser errors are ValueErrors
            raise DataError(_describe_fault(file, rows, error)) from None
        finally:
            ahead.stop()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _ReadAhead:
    """A file for pandas to read, decompressed a few blocks ahead in `pool`.

    Its `read` returns bytes. It is no `io` class, because pandas would decode and encode the bytes again.
    """

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor):
        self._blocks = _decompressed(file)
        self._pool = pool
        self._ahead = deque(self._submit() for _ in range(BLOCKS_AHEAD))
        self._block = b""
        self._position = 0

    def _submit(self):
        return self._pool.submit(next, self._blocks, b"")

    def read(self, size: int) -> bytes:
        if self._position >= len(self._block):
            self._block, self._position = self._ahead.popleft().result(), 0
            self._ahead.append(self._submit())
        self._position += size
        return self._block[self._position - size : self._position]

    def __iter__(self):  # pandas requires it, but calls `read`
        return self

    def stop(self) -> None:
        for block in self._ahead:
            block.cancel()


def _decompressed(file: BinaryIO, read_bytes: int = READ_BYTES) -> Iterator[bytes]:
    """Yield the content in blocks, none empty; zlib.error or EOFError if gzip data are damaged or end early.

    DataError if they expand too far. It does not use the module `gzip`, which takes Python's lock every few
    kB.
    """
    path = Path(file.name)
    if not is_gzip(path):
        while block := file.read(read_bytes):
            yield block
        return
    packed, unpacked = path.stat().st_size, 0
    gzip_format = 16 + zlib.MAX_WBITS
    member, data = zlib.decompressobj(gzip_format), file.read(read_bytes)
    while True:
        if block := member.decompress(data, DECOMPRESSED_BLOCK_BYTES):
            unpacked += len(block)
            require_plausible_size(path, packed, unpacked)
            yield block
        if member.eof:  # another member may follow, or zeros as padding
            data = member.unused_data.lstrip(b"\0") or file.read(read_bytes).lstrip(b"\0")
            if not data:
                return
            member = zlib.decompressobj(gzip_format)
        else:
            data = member.unconsumed_tail or file.read(read_bytes)
            if not data:
                raise EOFError("its end is missing")


def _describe_fault(file: Path, rows: int, error: Exception) -> str:
    """Describe in one sentence what is wrong after `rows` of a file.

    It reads the file again, because damaged gzip data may give a wrong value before the damage is noticed.
    """
    lines = 0
    with open(file, "rb") as opened:
        try:
            for block in _decompressed(opened, read_bytes=512):
                lines += block.count(b"\n")
        except DAMAGED_FILE_ERRORS as damage:
            after = min(max(0, lines - 1), rows + CHUNK_ROWS)
            return (
                f"{file} is damaged after about {after:,} rows ({_one_line(damage)}): fetch it again and "
                "compare it with SHA256SUMS.txt"
            )
    return f"{file} is not as expected somewhere after row {rows:,} ({_one_line(error)}): fetch it again"
