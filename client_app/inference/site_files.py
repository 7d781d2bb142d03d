"""The files of a site's data: which are read, and which share samples with others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from client_app.inference.completed_output import QUANTILES_FOLDER
from data_partitions import DataError
from data_partitions.recordings import find_recordings, open_recording
from data_partitions.sources.described.files import match_files

HEADER_SUFFIX = ".hea"


class SiteFiles(NamedTuple):
    """Files to read, in order.

    Attributes
    ----------
    root : folder below which names of records begin
    files : one per recording
    names : name of each recording: its path without suffix, or with it where others differ in nothing else
    sharing : why files cannot be completed, of those that share files of samples with others
    """

    root: Path
    files: list[Path]
    names: dict[Path, str]
    sharing: dict[Path, str]

    def require_unshared(self, file: Path) -> None:
        """Raise DataError when a file of the recording is also one of another: no copy can fit both."""
        if file in self.sharing:
            raise DataError(self.sharing[file])


def find_site_files(data: Path, pattern: str = "") -> SiteFiles:
    """Find a file, or all recordings of a folder; DataError when there are none.

    `pattern` is that of the recordings below the folder, as in a description; where none fits, all files
    count. Quantiles that `condi impute` wrote beside completed files, and the segments of WFDB records of
    several segments, are not recordings of their own.
    """
    paths = [file.path for file in match_files(data, pattern)] if pattern and data.is_dir() else []
    paths = paths or find_recordings(data)
    root = data if data.is_dir() else paths[0].parent
    paths = [path for path in paths if not _is_quantile(path.relative_to(root))] or paths
    files_of = _read_headers([path for path in paths if path.suffix.lower() == HEADER_SUFFIX])
    segments = {
        file for header, files in files_of.items() for file in files if file in files_of and file != header
    }
    headers_of = defaultdict(list)
    for header in files_of.keys() - segments:
        for file in files_of[header]:
            headers_of[file].append(header)
    sharing = {}
    for file, headers in headers_of.items():
        if len(headers) > 1:
            names = " and ".join(sorted(header.name for header in headers))
            for header in headers:
                sharing[header] = (
                    f"{header}: {names} share {file.name}, of which one copy cannot fit both: move all but "
                    "one of these headers to other folders"
                )
    files = [path for path in paths if path not in segments]
    return SiteFiles(root, files, _name_recordings(root, files), sharing)


def _name_recordings(root: Path, files: Sequence[Path]) -> dict[Path, str]:
    paths = {file: file.relative_to(root) for file in files}
    counts = Counter(path.with_suffix("") for path in paths.values())
    return {
        file: str(path.with_suffix("") if counts[path.with_suffix("")] == 1 else path)
        for file, path in paths.items()
    }


def _is_quantile(path: Path) -> bool:
    return len(path.parts) > 2 and path.parts[0] == QUANTILES_FOLDER


def _read_headers(headers: Sequence[Path]) -> dict[Path, set[Path]]:
    """Return the files of each WFDB record that can be opened; the others are reported later."""
    files_of = {}
    for header in headers:
        try:
            files_of[header] = set(open_recording(header).files)
        except Exception:  # of any reader, see the caller of `open_recording` that names it
            continue
    return files_of
