"""The files of a folder by kind, and the pattern that their paths have in common."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_partitions.errors import DataError

MAX_FILES = 200_000  # a larger folder is not listed to its end
KIND_OF_SUFFIX = {
    ".hea": "wfdb",
    ".edf": "edf",
    ".bdf": "edf",
    ".npy": "npy",
    ".npz": "npy",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".tar": "archive",
    ".tgz": "archive",
    ".xml": "xml",
}
_DOCUMENTS = re.compile(r"(readme|licen[cs]e|records|sha256sums|changes|notes|index)", re.IGNORECASE)


class FolderFiles(NamedTuple):
    """Relative paths of the files of a folder by kind, sorted; and of all others by suffix."""

    source: Path
    by_kind: dict[str, list[str]]
    others: dict[str, list[str]]
    complete: bool

    def of_kind(self, kind: str) -> list[str]:
        return self.by_kind.get(kind, [])


def list_folder(source: Path) -> FolderFiles:
    """List the files below a folder; DataError if it is none, or empty."""
    if not source.is_dir():
        raise DataError(f"there is no folder {source}: give the folder of the files")
    by_kind: dict[str, list[str]] = defaultdict(list)
    others: dict[str, list[str]] = defaultdict(list)
    count = 0
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(source)
        for name in names:
            if name.startswith("."):
                continue
            count += 1
            path = (below / name).as_posix()
            kind = _kind_of(name)
            (by_kind if kind else others)[kind or PurePosixPath(name).suffix.lower()].append(path)
        if count >= MAX_FILES:
            break
    if not count:
        raise DataError(f"{source} has no files: give the folder of the files")
    for paths in (*by_kind.values(), *others.values()):
        paths.sort()
    return FolderFiles(source, dict(by_kind), dict(others), count < MAX_FILES)


def _kind_of(name: str) -> str:
    if _DOCUMENTS.match(name):
        return ""
    lower = name.lower()
    if lower.endswith(".tar.gz"):
        return "archive"
    return KIND_OF_SUFFIX.get(PurePosixPath(lower.removesuffix(".gz")).suffix, "")


def group_by_top_folder(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths by their first folder; all under "" if some are in none."""
    if any("/" not in path for path in paths):
        return {"": list(paths)}
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[path.split("/")[0]].append(path)
    return dict(groups) if len(groups) > 1 else {"": list(paths)}


def pattern_of(paths: Sequence[str], field: str) -> str:
    """Return the pattern of paths in which `{field}` is what differs in the names of the files."""
    names = [PurePosixPath(path).name for path in paths]
    suffix = _common_end(names)
    folders = {str(PurePosixPath(path).parent) for path in paths}
    if len(folders) == 1:
        folder = folders.pop()
        start = "" if folder == "." else f"{folder}/"
    else:
        parts = os.path.commonpath(list(folders)) if "." not in folders else ""
        start = f"{parts}/**/" if parts else "**/"
    return f"{start}{{{field}}}{suffix}"


def name_in_pattern(path: str, suffix: str) -> str:
    """Return the part of a file's name that a field of `pattern_of` stands for."""
    return PurePosixPath(path).name.removesuffix(suffix)


def _common_end(names: Sequence[str]) -> str:
    """Return the suffix of the names, with what else they end in where that is a word, as in "-PSG.edf"."""
    end = os.path.commonprefix([name[::-1] for name in names])[::-1]
    suffixes = re.search(r"(\.[A-Za-z]\w*)+$", names[0])
    suffix = suffixes[0] if suffixes else ""
    if len(names) == 1 or not end.endswith(suffix):
        return suffix if all(name.endswith(suffix) for name in names) else ""
    word = re.search(r"[-_][A-Za-z]+$", end.removesuffix(suffix))
    return (word[0] if word else "") + suffix


def sample_evenly(items: Sequence, count: int) -> list:
    """Return at most `count` items, evenly spread over the sequence."""
    if len(items) <= count:
        return list(items)
    step = len(items) / count
    return [items[int(i * step)] for i in range(count)]
