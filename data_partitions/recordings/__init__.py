"""Native files: WFDB records, EDF and BDF files, csv and parquet files, npy and npz arrays.

`open_recording` opens a file of any format; samples are read a stretch at a time. The module of a format has

- `SUFFIXES`: the suffixes of its files;
- `open(file, **options) -> Recording`, which ignores options of other formats;
- `create_output(recording, folder) -> Output`: a copy of the recording, to be completed.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from data_partitions.errors import DataError
from data_partitions.expansion import require_plausible_length
from data_partitions.file_walk import walk_files
from data_partitions.recordings import (
    array_recording,
    csv_recording,
    edf_recording,
    parquet_recording,
    wfdb_recording,
)
from data_partitions.recordings.recording import Channel, Output, Recording

__all__ = [
    "Channel",
    "Output",
    "Recording",
    "create_output",
    "find_recordings",
    "list_records",
    "open_recording",
]

_FORMATS: dict[str, ModuleType] = {
    suffix: module
    for module in (wfdb_recording, edf_recording, csv_recording, array_recording, parquet_recording)
    for suffix in module.SUFFIXES
}


def open_recording(file: Path, **options: Any) -> Recording:
    """Open a file by its suffix.

    Parameters
    ----------
    file
        The file; of a WFDB record its header.
    options
        How files are written; see `FilesSection`. Each format uses those that it has.

    Raises
    ------
    DataError
        The file cannot be read, in one sentence.
    """
    recording = _format_of(file).open(file, **options)
    require_plausible_length(file, recording.files, max(c.samples for c in recording.channels))
    return recording


def list_records(file: Path, **options: Any) -> list[str]:
    """List the names of the recordings in a file, for the option `record` of `open_recording`.

    Parameters
    ----------
    file
        The file.
    options
        As in `open_recording`.

    Returns
    -------
    list of str
        For an array with an axis of recordings their names, for all other files [""].
    """
    return array_recording.list_records(file, **options) if _format_of(file) is array_recording else [""]


def create_output(recording: Recording, folder: Path) -> Output:
    """Copy a recording to a folder, to be completed there.

    Raises
    ------
    DataError
        The format or this file cannot be completed. Nothing was written.
    """
    return _format_of(recording.file).create_output(recording, folder)


def _format_of(file: Path) -> ModuleType:
    for suffix, module in _FORMATS.items():
        if file.name.lower().endswith(suffix):
            return module
    raise DataError(f"{file} has no supported format: give {', '.join(_FORMATS)}")


def find_recordings(path: Path) -> list[Path]:
    """Find the recordings at a path.

    Parameters
    ----------
    path
        A file, the name of a WFDB record, or a folder, in which hidden files and folders are skipped.

    Returns
    -------
    list of Path
        The file itself, or all files below the folder that can be read but parquet, sorted; WFDB records
        by their header.

    Raises
    ------
    DataError
        There are none.
    """
    if not path.is_dir() and not _is_supported(path) and (header := path.with_suffix(".hea")).exists():
        path = header
    elif not path.exists() and (header := path.with_name(f"{path.name}.hea")).exists():
        path = header
    if not path.exists():
        raise DataError(f"there is no {path}: give a partition, a file, or a folder of files")
    if path.is_file():
        _format_of(path)
        return [path]
    files = sorted(_files_below(path))
    if not files:
        raise DataError(f"{path} contains no file of a supported format ({', '.join(_FORMATS)})")
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    for file in map(Path, walk_files(folder)):
        # In a folder of recordings, a parquet file is nearly always a table about them.
        if _is_supported(file) and file.suffix.lower() != ".parquet" and file.is_file():
            yield file


def _is_supported(file: Path) -> bool:
    return file.name.lower().endswith(tuple(_FORMATS))
