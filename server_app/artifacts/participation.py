"""Which sites of a run its operator has drained for maintenance, in a file of the run directory."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from condi_core.run_files import DRAINED_FILE, RunFileMissingError, read_json
from data_partitions.storage import atomic_write


def read_drained(run: Path) -> set[str]:
    """Return the sites that are not asked for now.

    Parameters
    ----------
    run : Path
        The run directory.

    Raises
    ------
    RunFileError
        The file is damaged.
    """
    try:
        return read_json(run / DRAINED_FILE, _require_names)
    except RunFileMissingError:
        return set()


def write_drained(run: Path, sites: Collection[str]) -> None:
    """Replace the sites that are not asked; the coordinator reads them before it asks sites again."""
    with atomic_write(run / DRAINED_FILE) as file:
        file.write(json.dumps(sorted(sites)).encode())


def _require_names(content: object) -> set[str]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ValueError("a list of names was expected")
    return set(content)
