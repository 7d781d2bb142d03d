"""Which sites of a run its operator has drained for maintenance, and which are to join it.

Each is a file of the run directory, which the coordinator reads before it asks sites again.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from condi_core.run_files import DRAINED_FILE, JOINING_FILE, RunFileMissingError, read_json
from data_partitions.locks import hold_lock
from data_partitions.storage import atomic_write


def read_drained(run: Path) -> set[str]:
    """Return the sites that are not asked for now; RunFileError when the file is damaged."""
    return _read(run / DRAINED_FILE)


def change_drained(run: Path, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
    """Add sites to those that are not asked, then remove some; RunFileError when the file is damaged."""
    _change(run / DRAINED_FILE, added, removed)


def read_joining(run: Path) -> set[str]:
    """Return the sites that are to join before the next round; RunFileError when the file is damaged."""
    return _read(run / JOINING_FILE)


def change_joining(run: Path, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
    """Add sites to those that are to join, then remove some; RunFileError when the file is damaged."""
    _change(run / JOINING_FILE, added, removed)


def _read(file: Path) -> set[str]:
    try:
        return read_json(file, _require_names)
    except RunFileMissingError:
        return set()


def _change(file: Path, added: Collection[str], removed: Collection[str]) -> None:
    # The operator and the coordinator's app may both change a file.
    with hold_lock(file.with_name(f".{file.stem}.lock"), file, wait=True):
        sites = (_read(file) | set(added)) - set(removed)
        with atomic_write(file) as out:
            out.write(json.dumps(sorted(sites)).encode())


def _require_names(content: object) -> set[str]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ValueError("a list of names was expected")
    return set(content)
