"""Native files, read and written signal by signal: a WFDB record, an EDF file, a csv of hourly values.

Each module has `SUFFIX`, `read(file) -> Recording`, `files(recording)`, which are those it consists of, and
`write(recording, signals, folder)`, which writes the same files with what `signals` has for samples that were
not observed.
"""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from data_partitions.errors import DataError
from data_partitions.recordings import edf, hourly_csv, wfdb_record
from data_partitions.recordings.grid import WindowGrid
from data_partitions.recordings.recording import Recording, Signal

__all__ = ["FORMATS", "WindowGrid", "Recording", "Signal", "find_recordings", "format_of"]

FORMATS: dict[str, ModuleType] = {module.SUFFIX: module for module in (wfdb_record, edf, hourly_csv)}


def format_of(file: Path) -> ModuleType:
    """The module that reads a file, by its name; DataError when there is none."""
    if file.suffix.lower() not in FORMATS:
        raise DataError(f"{file} is of no kind that can be read: give {', '.join(FORMATS)}")
    return FORMATS[file.suffix.lower()]


def find_recordings(path: Path) -> list[Path]:
    """The file itself, or all files below a folder that can be read; DataError when there are none."""
    if path.suffix.lower() == ".dat":
        path = path.with_suffix(".hea")
    elif not path.exists() and (header := path.with_name(f"{path.name}.hea")).exists():
        path = header  # a WFDB record is called by its name
    if not path.exists():
        raise DataError(f"there is no {path}: give a partition, a file, or a folder of files")
    if path.is_file():
        format_of(path)
        return [path]
    found = sorted(_files(path))
    if not found:
        raise DataError(f"{path} holds no file that can be read ({', '.join(FORMATS)})")
    return found


def _files(folder: Path) -> Iterable[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in FORMATS and file.is_file() and not hidden:
            yield file
