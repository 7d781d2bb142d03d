"""Recordings in a file: arrays may have several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_partitions.description.sections import FilesSection
from data_partitions.errors import DataError
from data_partitions.recordings import list_records
from data_partitions.sources.described.files import MatchedFile


def opening_options(files: FilesSection) -> dict[str, Any]:
    """Return the options of `open_recording` that a description states."""
    return files.model_dump(exclude={"format", "path", "record"})


def split_files(
    files: FilesSection, matches: Sequence[MatchedFile], source: Path
) -> tuple[list[MatchedFile], list[str]]:
    """Return the recordings of files that have several, and a sentence about each unreadable file.

    The field `record` of a recording is its name in the file; after the name of the file, where files have
    recordings of equal names.
    """
    if files.format != "npy" or "record" not in files.axes.split():
        return list(matches), []
    parts: list[MatchedFile] = []
    faults = []
    for match in matches:
        try:
            names = list_records(match.path, **opening_options(files))
        except DataError as error:
            faults.append(str(error))
            continue
        parts += [match._replace(part=name) for name in names]
    repeated = max(Counter(match.part for match in parts).values(), default=1) > 1

    def name_part(match: MatchedFile) -> str:
        file = match.path.relative_to(source).with_suffix("").as_posix()
        return f"{file}/{match.part}" if repeated else match.part

    return [match._replace(fields={**match.fields, "record": name_part(match)}) for match in parts], faults
