"""Windows of recordings that an interrupted preparation has read, so that the next one goes on after them.

windows.f4     float32, the windows that were used, one after the other
journal.jsonl  the key of the preparation; then a line for each recording whose windows are complete
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.storage import private_opener
from data_partitions.unfinished import note_other_data

WINDOWS_FILE = "windows.f4"
JOURNAL_FILE = "journal.jsonl"


class Resumption:
    """The windows of a preparation, of which some may be read already. A context manager.

    Only its caller writes to the folder, see `unfinished_folder`. Keys are equal if and only if the
    preparation would read the same windows in the same order.
    """

    def __init__(self, folder: Path, key: str, shape: Sequence[int], log: PreparationLog) -> None:
        self.folder = folder
        self.key = key
        self.shape = tuple(shape)
        self._log = log

    def __enter__(self) -> Resumption:
        self._journal = open(self.folder / JOURNAL_FILE, "a+", encoding="utf-8", opener=private_opener)
        self._lines = self._read_journal()
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    @property
    def rows_done(self) -> int:
        """Number of rows whose windows are read already."""
        return sum(line["rows"] for line in self._lines)

    def read(
        self, recordings: Sequence[str], read: Callable[[int], Iterator[np.ndarray | None]]
    ) -> Iterator[np.ndarray | None]:
        """Yield all windows, and store those that are new; the windows of one recording follow each other.

        `read` reads the windows from a row on. What it says to the log about a recording, it says before it
        yields the first window of the next one; the log gets what was said about those that are read already.
        """
        log = self._log
        with open(self.folder / WINDOWS_FILE, "ab+", opener=private_opener) as file:
            file.seek(0)
            yield from self._replay(file)
            file.truncate()
            first = self.rows_done
            self._rejected = len(log.rejected)
            unused: list[int] = []
            checksum = 0
            for row, window in enumerate(read(first), start=first):
                if row > first and recordings[row] != recordings[row - 1]:
                    self._commit(file, row - first, unused, checksum)
                    first, unused, checksum = row, [], 0
                if window is None:
                    unused.append(row - first)
                else:
                    content = np.ascontiguousarray(window, "<f4").tobytes()
                    checksum = crc32(content, checksum)
                    file.write(content)
                yield window
            self._commit(file, len(recordings) - first, unused, checksum)

    def _replay(self, file: BinaryIO) -> Iterator[np.ndarray | None]:
        window_bytes = 4 * math.prod(self.shape)
        for line in self._lines:
            checksum = 0
            unused = set(line["unused"])
            for row in range(line["rows"]):
                if row in unused:
                    yield None
                    continue
                content = file.read(window_bytes)
                checksum = crc32(content, checksum)
                if len(content) < window_bytes:
                    break
                yield np.frombuffer(content, "<f4").reshape(self.shape)
            if checksum != line["checksum"]:
                raise DataError(f"{self.folder / WINDOWS_FILE} is damaged: repeat the command")
            self._log.counts = Counter(line["counts"])
            self._log.rejected += line["rejected"]

    def _commit(self, file: BinaryIO, rows: int, unused: list[int], checksum: int) -> None:
        """Note that the windows of a recording are complete."""
        file.flush()
        log = self._log
        line = {"rows": rows, "unused": unused, "checksum": checksum, "counts": log.counts}
        line["rejected"] = log.rejected[self._rejected :]
        self._rejected = len(log.rejected)
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()

    def _read_journal(self) -> list[dict]:
        """Return the complete lines of a journal of this key; else begin a new one."""
        self._journal.seek(0)
        first, *others = self._journal.read().split("\n")
        if first == json.dumps(self.key) and others:
            complete = others[:-1]  # what follows the last end of a line is incomplete
            self._rewrite_journal([first, *complete])
            return [json.loads(line) for line in complete]
        if others:
            note_other_data(self._log)
        self._rewrite_journal([json.dumps(self.key)])
        return []

    def _rewrite_journal(self, lines: list[str]) -> None:
        self._journal.seek(0)
        self._journal.truncate()
        self._journal.write("".join(f"{line}\n" for line in lines))
        self._journal.flush()
