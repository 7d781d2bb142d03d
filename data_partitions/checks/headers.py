"""What the headers of recordings state: channels, units, rates and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from data_partitions.checks.parallel import map_files
from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import open_recording
from data_partitions.recordings.recording import Channel


class FileHeader(NamedTuple):
    """The header of a recording."""

    file: Path
    channels: tuple[Channel, ...]  # its channels; none if it cannot be read
    seconds: float  # length of its longest channel in s
    notes: tuple[str, ...]  # sentences on what is unusual
    error: str  # why it cannot be read, or ""


def read_headers(
    files: Sequence[Path], options: Mapping[str, Any], progress: ProgressCallback
) -> list[FileHeader]:
    """Read the headers of recordings, in several processes if there are many."""
    return map_files(partial(read_header, options=options), files, "reading headers", progress)


def read_header(file: Path, options: Mapping[str, Any]) -> FileHeader:
    """Read the header of a recording; `options` are those of its format."""
    try:
        recording = open_recording(file, **options)
    except (DataError, OSError) as error:
        return FileHeader(file, (), 0.0, (), str(error))
    seconds = max((channel.samples / channel.rate for channel in recording.channels), default=0.0)
    return FileHeader(file, tuple(recording.channels), seconds, tuple(recording.notes), "")
