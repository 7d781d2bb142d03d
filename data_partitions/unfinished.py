"""The hidden folder with what an interrupted preparation has read, so that the next one goes on after it.

.north.partial/
  index.parquet  the list of the windows of tables over time, which takes a pass over all files
  index.json     its key, and what was said while it was made
  pass.state     how far a pass over tables over time has come: see `Checkpoint`
  windows.f4     the windows of recordings: see `Resumption`
  journal.jsonl
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.storage import atomic_write, make_private_directory

INDEX_FILE = "index.parquet"
INDEX_LOG_FILE = "index.json"


@contextmanager
def unfinished_folder(out: Path) -> Iterator[Path]:
    """Yield the folder beside `out`, which stays only if the block is interrupted.

    The caller holds the lock of the path. The folder is removed when the block succeeds or raises DataError,
    and when nothing is in it.
    """
    folder = out.with_name(f".{out.name}.partial")
    try:
        make_private_directory(folder)
    except OSError as error:
        raise DataError(f"cannot write to {out} ({error.strerror}): choose another path") from None
    try:
        yield folder
    except DataError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)


def hash_preparation(settings: str, rows: pd.DataFrame, files: Iterable[Path]) -> str:
    """Return a hash of settings, the rows of an index, and the sizes and times of their files."""
    digest = hashlib.sha256(settings.encode())
    digest.update(rows.to_csv(index=False).encode())
    for file in files:
        state = file.stat()
        digest.update(f"{file} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def note_other_data(log: PreparationLog) -> None:
    """Note, once, that what was read before an interruption is of no use."""
    sentence = "All was read again, as the files or the settings have changed since the interruption."
    if sentence not in log.notes:
        log.note(sentence)


def hash_folder(settings: str, source: Path) -> str:
    """Return a hash of settings and of names, sizes and times of all files in a folder, but hidden ones."""
    digest = hashlib.sha256(settings.encode())
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            with suppress(FileNotFoundError):  # a link to nothing
                state = os.stat(os.path.join(folder, name))
                digest.update(f"{folder}/{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def read_index_once(
    folder: Path, key: str, read: Callable[[], pd.DataFrame], log: PreparationLog
) -> pd.DataFrame:
    """Return the index that is stored under a key, with what was said to the log; else read and store it."""
    index_file, log_file = folder / INDEX_FILE, folder / INDEX_LOG_FILE
    stored = json.loads(log_file.read_bytes()) if log_file.is_file() else None
    if stored is not None and stored["key"] == key:
        log.notes[:], log.rejected[:] = stored["notes"], stored["rejected"]
        log.counts = Counter(stored["counts"])
        index = pd.read_parquet(index_file)
        return index.assign(modalities=index["modalities"].map(tuple))
    log_file.unlink(missing_ok=True)
    index = read()
    with atomic_write(index_file) as file:
        index.assign(modalities=index["modalities"].map(list)).to_parquet(file)
    said = {"key": key, "notes": log.notes, "rejected": log.rejected, "counts": log.counts}
    with atomic_write(log_file) as file:
        file.write(json.dumps(said).encode())
    if stored is not None:
        note_other_data(log)
    return index
