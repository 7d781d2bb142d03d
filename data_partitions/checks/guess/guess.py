"""Draft a description of the files in a folder: `condi dataset guess FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_partitions.checks.guess.arrays import guess_arrays
from data_partitions.checks.guess.event_tables import guess_events
from data_partitions.checks.guess.folder import MAX_FILES, FolderFiles, list_folder
from data_partitions.checks.guess.meds import guess_meds, is_meds
from data_partitions.checks.guess.recordings import guess_recordings
from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.sentences import list_some


def guess_description(source: Path, progress: ProgressCallback = lambda step, done, total: None) -> str:
    """Look at some files of a folder and draft a description of them, as the text of dataset.toml."""
    folder = list_folder(source)
    text = _guess_by_kind(folder, progress)
    return (
        text if folder.complete else f"# Only the first {MAX_FILES} files of the folder were listed.\n{text}"
    )


def _guess_by_kind(folder: FolderFiles, progress: ProgressCallback) -> str:
    source = folder.source
    for kind in ("wfdb", "edf"):
        if folder.of_kind(kind):
            return guess_recordings(folder, kind, progress)
    if is_meds(folder):
        return guess_meds(folder, progress)
    tables = [path for kind in ("csv", "parquet", "archive") for path in folder.of_kind(kind)]
    arrays = folder.of_kind("npy")
    if arrays and _count_bytes(source, arrays) > _count_bytes(source, tables):
        return guess_arrays(folder)
    if tables:
        return guess_events(folder, progress)
    raise DataError(
        f"{source} has only files of unknown kinds ({list_some(sorted(folder.others))}): expected WFDB "
        "headers (.hea), .edf, .bdf, .csv, .parquet, .npy or .npz"
    )


def _count_bytes(source: Path, paths: Sequence[str]) -> int:
    return sum((source / path).stat().st_size for path in paths)
