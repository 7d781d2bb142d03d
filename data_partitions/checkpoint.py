"""The state of a pass over many files, stored from time to time, so that an interrupted one goes on from it.

Windows of tables over time are complete only when all files are read, because the rows of a stay may be
anywhere. What is stored is therefore the state of all windows, and which parts of the files are in it: a line
of JSON and the arrays, one after the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from data_partitions.preparation_log import PreparationLog
from data_partitions.storage import atomic_write
from data_partitions.unfinished import note_other_data

CHECKPOINT_FILE = "pass.state"
MIN_SECONDS = 10.0  # between two checkpoints
MAX_SHARE = 0.05  # of the time that goes into checkpoints

Piece = TypeVar("Piece")
Part = TypeVar("Part")


class PassState(NamedTuple):
    """What a pass has gathered: `facts` in types of JSON, and arrays by name."""

    facts: dict[str, Any]
    arrays: Mapping[str, np.ndarray]


class Checkpoint:
    """How far a pass over files has come, in a folder to which only this process writes; None for nowhere.

    Keys are equal if and only if the pass would read the same parts in the same order.
    """

    def __init__(self, folder: Path | None, key: str, log: PreparationLog) -> None:
        self._file, self._key, self._log = folder and folder / CHECKPOINT_FILE, key, log
        self._stored_at, self._seconds = time.monotonic(), 0.0

    def read_parts(
        self,
        pieces: Sequence[Piece],
        read: Callable[[Piece], Iterator[Part]],
        export_state: Callable[[], PassState],
        restore_state: Callable[[PassState], None],
    ) -> Iterator[Part]:
        """Yield the parts of each piece, such as a file, after those that were read before an interruption.

        `read` yields the parts of a piece, always the same ones. The state is exported when a part has been
        processed, so that it has all parts up to that one. It is restored when the reader has come to the
        same place, because readers count in it what they leave out between parts.
        """
        stored = self._load()
        first, skipped = (0, 0) if stored is None else stored.facts["position"]
        if stored is not None:
            self._log.note(f"Parts that were read before an interruption: {first} of {len(pieces)}.")
            if not skipped:
                restore_state(stored)
        for number in range(first, len(pieces)):
            for part, content in enumerate(read(pieces[number]), start=1):
                if number == first and part <= skipped:
                    if stored is not None and part == skipped:
                        restore_state(stored)
                    continue
                yield content
                self._store_if_due((number, part), export_state)
            self._store_if_due((number + 1, 0), export_state)

    def _store_if_due(self, position: tuple[int, int], export_state: Callable[[], PassState]) -> None:
        start = time.monotonic()
        if self._file is None or start - self._stored_at < max(MIN_SECONDS, self._seconds / MAX_SHARE):
            return
        facts, arrays = export_state()
        header = {
            "key": self._key,
            "facts": {**facts, "position": position},
            "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
        }
        try:
            with atomic_write(self._file) as file:
                file.write(json.dumps(header).encode() + b"\n")
                for array in arrays.values():
                    np.ascontiguousarray(array).tofile(file)
        except OSError as error:  # there may be space for the windows, if not for more
            self._log.note(
                f"After an interruption all is read again, as its state cannot be stored: {error.strerror}."
            )
            self._file = None
            return
        self._stored_at = time.monotonic()
        self._seconds = self._stored_at - start

    def _load(self) -> PassState | None:
        """Return the state of this key, whose arrays are read from the file when they are used."""
        if self._file is None or not self._file.is_file():
            return None
        with open(self._file, "rb") as file:
            header = json.loads(file.readline())
            offset = file.tell()
        if header["key"] != self._key:
            note_other_data(self._log)
            self._file.unlink()
            return None
        arrays: dict[str, np.ndarray] = {}
        for name, dtype, shape in header["arrays"]:
            arrays[name] = np.zeros(shape, dtype)
            if arrays[name].size:
                arrays[name] = np.memmap(self._file, dtype, "r", offset, tuple(shape))
            offset += arrays[name].nbytes
        return PassState(header["facts"], arrays)
