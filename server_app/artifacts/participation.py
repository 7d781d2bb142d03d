"""Which sites of a run its operator has drained for maintenance, and which are to join it.

Each is a file of the run directory, which the coordinator reads before it asks sites again.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from condi_core.run_files import DRAINED_FILE, JOINING_FILE, RunFileMissingError, read_json
from data_partitions.storage import atomic_write


def read_drained(run: Path) -> set[str]:
    """Return the sites that are not asked for now; RunFileError when the file is damaged."""
    return _read(run / DRAINED_FILE)


def write_drained(run: Path, sites: Collection[str]) -> None:
    """Replace the sites that are not asked."""
    _write(run / DRAINED_FILE, sites)


def read_joining(run: Path) -> set[str]:
    """Return the sites that are to join before the next round; RunFileError when the file is damaged."""
    return _read(run / JOINING_FILE)


def write_joining(run: Path, sites: Collection[str]) -> None:
    """Replace the sites that are to join."""
    _write(run / JOINING_FILE, sites)


def _read(file: Path) -> set[str]:
    try:
        return read_json(file, _require_names)
    except RunFileMissingError:
        return set()


def _write(file: Path, sites: Collection[str]) -> None:
    with atomic_write(file) as out:
        out.write(json.dumps(sorted(sites)).encode())


def _require_names(content: object) -> set[str]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ValueError("a list of names was expected")
    return set(content)
