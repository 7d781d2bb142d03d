"""What was computed of a long recording so far, so that an interrupted completion goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.storage import atomic_write, make_private_directory


class Journal(AbstractContextManager):
    """A folder with one array per block of windows, removed at the end unless the process is stopped.

    It is made with the first entry. Entries that were made from something else than `made_from` are removed.
    """

    def __init__(self, folder: Path, made_from: dict[str, Any]) -> None:
        self._folder = folder
        self._made_from = json.dumps(made_from, sort_keys=True)
        try:
            is_current = (folder / "made-from.json").read_text(encoding="utf-8") == self._made_from
        except (OSError, UnicodeDecodeError):
            is_current = False
        if not is_current:
            self._remove()

    def load_or_compute(self, block: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the entry of a block, or compute it and write it."""
        file = self._folder / f"{block}.npy"
        try:
            entry: np.ndarray = np.load(file, allow_pickle=False)
            return entry
        except (OSError, ValueError, EOFError):
            entry = compute()
        make_private_directory(self._folder)
        with atomic_write(self._folder / "made-from.json") as made_from:
            made_from.write(self._made_from.encode())
        with atomic_write(file) as opened:
            np.save(opened, entry, allow_pickle=False)
        return entry

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
