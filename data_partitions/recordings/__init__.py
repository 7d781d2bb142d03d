"""Native files, read and written signal by signal: WFDB records, EDF files, csv files of hourly values.

The module of a format has

- `SUFFIX`: the suffix of its files;
- `read(file) -> Recording`;
- `files(recording)`: the files that the recording consists of;
- `write(recording, signals, folder)`: writes the same files to a folder, with the values that `signals` has
  for samples that were not observed. Observed samples stay as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from data_partitions.errors import DataError
from data_partitions.recordings import edf, hourly_csv, wfdb_record
from data_partitions.recordings.grid import WindowGrid
from data_partitions.recordings.recording import Recording, Signal

__all__ = ["FORMATS", "Recording", "Signal", "WindowGrid", "find_recordings", "format_of"]

FORMATS: dict[str, ModuleType] = {module.SUFFIX: module for module in (wfdb_record, edf, hourly_csv)}


def format_of(file: Path) -> ModuleType:
    """Return the module that reads a file, by the file's suffix; DataError if there is none."""
    if file.suffix.lower() not in FORMATS:
        raise DataError(f"{file} has no supported format: give {', '.join(FORMATS)}")
    return FORMATS[file.suffix.lower()]


def find_recordings(path: Path) -> list[Path]:
    """Find the recordings at a path.

    Parameters
    ----------
    path
        A file, the name of a WFDB record, or a folder, in which hidden files and folders are skipped.

    Returns
    -------
    list of Path
        The file itself, or all files below the folder that can be read, sorted; WFDB records by their header.

    Raises
    ------
    DataError
        There are none.
    """
    if path.suffix.lower() == ".dat":
        path = path.with_suffix(".hea")
    elif not path.exists() and (header := path.with_name(f"{path.name}.hea")).exists():
        path = header
    if not path.exists():
        raise DataError(f"there is no {path}: give a partition, a file, or a folder of files")
    if path.is_file():
        format_of(path)
        return [path]
    files = sorted(_files_below(path))
    if not files:
        raise DataError(f"{path} contains no file of a supported format ({', '.join(FORMATS)})")
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in FORMATS and file.is_file() and not hidden:
            yield file
