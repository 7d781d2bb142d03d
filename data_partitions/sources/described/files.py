"""Patterns of file names: `*`, `**/`, `{field}` and `{field:4}`, as in "{hospital}/{record}.hea"."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_partitions.errors import DataError
from data_partitions.events.files import ARCHIVE_SUFFIXES, is_archive, list_members
from data_partitions.file_walk import walk_files
from data_partitions.sentences import count_noun, quote_some, suggest

# Copies of all files, beside those that `condi impute` completed.
_QUANTILES = re.compile(r"quantiles/q\d\d/")
_PART = re.compile(r"\*\*/|\*\*|\*|\{([^{}:]+)(?::(\d+))?\}")


class MatchedFile(NamedTuple):
    """A file or a member of an archive, and the text of each field of the pattern in its name."""

    path: Path
    fields: dict[str, str]
    member: str = ""  # name in the archive `path`
    part: str = ""  # name of the recording, in a file of several


def fields_of_pattern(pattern: str) -> list[str]:
    """Return the names of the fields of a pattern, in order."""
    return list(dict.fromkeys(part[1] for part in _PART.finditer(pattern) if part[1]))


def fill_pattern(pattern: str, fields: Mapping[str, str]) -> str:
    """Replace `{field}` by its text and `{field:4}` by its first four characters; DataError if unknown."""

    def text_of(part: re.Match[str]) -> str:
        if not part[1]:
            return part[0]
        if part[1] not in fields:
            raise DataError(
                f'there is no field "{part[1]}"{suggest(part[1], fields)} '
                f"(the fields are {', '.join(fields)})"
            )
        return fields[part[1]][: int(part[2])] if part[2] else fields[part[1]]

    return _PART.sub(text_of, pattern)


def match_files(
    source: Path, pattern: str, columns: Collection[str] = (), in_archives: bool = False
) -> list[MatchedFile]:
    """List the files below a folder whose names fit a pattern.

    Parameters
    ----------
    source
        The folder. Hidden files and folders are skipped, and quantiles beside completed files.
    pattern
        Path below the folder; `*` stands for a part of a name, `**` for folders, `{field}` for a part of a
        name, `{field:4}` for four characters. A field that appears twice has the same text.
    columns
        Columns of the table: a field with such a name may contain folders.
    in_archives
        Whether to list members of archives (.tar.gz), as if they were unpacked where the archive is.

    Returns
    -------
    list of MatchedFile
        Sorted by path; it may be empty.

    Raises
    ------
    DataError
        There is no such folder, or an archive is damaged.
    """
    if not source.is_dir():
        raise DataError(f"there is no folder {source}: give the folder of the files as --source")
    if not _PART.search(pattern) and (source / pattern).is_file():
        return [MatchedFile(source / pattern, {})]
    expression, names = _compile(pattern, columns)
    paths = list(_walk(source, pattern))
    members = dict(_find_members(source, pattern, paths)) if in_archives else {}
    matches: list[MatchedFile] = []
    quantiles: list[MatchedFile] = []
    for path in sorted({*paths, *members}):
        if match := expression.fullmatch(path):
            fields = {names[group]: text for group, text in match.groupdict().items()}
            # `source / path` takes several times as long, which counts for many small files.
            file, member = members.get(path) or (Path(f"{source}/{path}"), "")
            kind = quantiles if _QUANTILES.match(path) else matches
            kind.append(MatchedFile(file, fields, member))
    return matches or quantiles


def describe_files(source: Path) -> str:
    """Say what files a folder has instead of those that were expected."""
    paths = sorted(_walk(source, ""))
    if not paths:
        return f"{source} has no files"
    kinds = Counter("".join(Path(path).suffixes[-2:]) or "no suffix" for path in paths)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    return f"{source} has {count_noun(len(paths), 'file')} ({counts}), such as {quote_some(paths[:1])}"


def _compile(pattern: str, columns: Collection[str]) -> tuple[re.Pattern[str], dict[str, str]]:
    groups: dict[str, str] = {}  # group of a field
    expression, end = "", 0
    for part in _PART.finditer(pattern):
        expression += re.escape(pattern[end : part.start()])
        end = part.end()
        field, width = part[1], part[2]
        if part[0] == "**/":
            expression += "(?:.*/)?"
        elif part[0] == "**":
            expression += ".*"
        elif part[0] == "*":
            expression += "[^/]*"
        elif field in groups:
            expression += f"(?P={groups[field]})"
        else:
            groups[field] = f"field{len(groups)}"
            character = "." if field in columns else "[^/]"
            expression += f"(?P<{groups[field]}>{character}{f'{{{width}}}' if width else '+'})"
    expression += re.escape(pattern[end:])
    return re.compile(expression), {group: field for field, group in groups.items()}


def _find_members(source: Path, pattern: str, files: Sequence[str]) -> Iterator[tuple[str, tuple[Path, str]]]:
    """Yield the members of archives: their paths if they were unpacked, the archive and the name in it."""
    paths = {path for path in files if path.lower().endswith(ARCHIVE_SUFFIXES)}
    unpacked = set(files)
    above = Path(pattern.partition("*")[0].partition("{")[0]).parents  # may be folders of the archive
    paths |= {(folder / file.name).as_posix() for folder in above for file in (source / folder).glob("*")}
    for path in sorted(path for path in paths if is_archive(source / path)):
        for member in list_members(source / path):
            if (name := (Path(path).parent / member).as_posix()) not in unpacked:
                yield name, (source / path, member)


def _walk(source: Path, pattern: str) -> Iterator[str]:
    """Yield the paths of files below a folder that begin like the pattern."""
    first = _PART.search(pattern)
    fixed = pattern[: first.start()] if first else pattern
    start = fixed.rpartition("/")[0]
    # `relative_to` takes several times as long, which counts for many small files.
    skipped = len(os.path.join(source, ""))
    yield from (path[skipped:] for path in walk_files(os.path.join(source, start)))
