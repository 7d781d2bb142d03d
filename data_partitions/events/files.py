"""The files of tables over time. An archive counts as the folder that its members would be unpacked to."""

import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from data_partitions.errors import DataError
from data_partitions.expansion import open_unpacked

BLOCK_BYTES = 2**24  # of files that are read one after another without a checkpoint
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
DAMAGED_FILE_ERRORS = (tarfile.TarError, zlib.error, EOFError, OSError)


class EventFile(NamedTuple):
    """A file, or a member of an archive."""

    path: Path  # the file, or the archive
    record: str = ""  # name of the recording of all rows; "" if a column names it
    member: str = ""  # name in the archive

    def __str__(self) -> str:
        return f"{self.member} in {self.path}" if self.member else str(self.path)


def is_archive(path: Path) -> bool:
    """Tell whether a path is an archive, by its name."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and path.is_file()


def list_members(archive: Path) -> list[str]:
    """List the files of an archive in their order; DataError when it is damaged."""
    return [member.name for member, _ in _iterate_members(archive)]


def group_files(files: Sequence[EventFile]) -> list[list[EventFile]]:
    """Divide files into blocks of about `BLOCK_BYTES`; an archive, which is read once, is in one block."""
    blocks: list[list[EventFile]] = []
    size = BLOCK_BYTES
    for path, group in groupby(files, key=lambda file: file.path):
        of_path = list(group)
        if size >= BLOCK_BYTES:
            blocks.append([])
            size = 0
        blocks[-1] += of_path
        with suppress(OSError):  # it is rejected when it is read
            size += path.stat().st_size
    return blocks


def open_files(
    files: Sequence[EventFile], reject: Callable[[EventFile, DataError], None]
) -> Iterator[tuple[EventFile, BinaryIO]]:
    """Yield each file with its content, decompressed; an archive is read once.

    Files keep their order but for the members of an archive, which come in the archive's order. `reject`
    receives files that cannot be opened; damage is noticed where the content is read. DataError when an
    archive is damaged.
    """
    for path, group in groupby(files, key=lambda file: file.path):
        of_path = list(group)
        if of_path[0].member:
            wanted = {file.member: file for file in of_path}
            for member, content in _iterate_members(path):
                if member.name in wanted:
                    yield wanted.pop(member.name), content
            if wanted:
                raise DataError(f"{path} has no member {min(wanted)}: it changed while it was read")
        else:
            for file in of_path:
                try:
                    content = open_unpacked(path)
                except OSError as error:
                    reject(file, DataError(f"{file} cannot be read ({error.strerror})"))
                    continue
                with content:
                    yield file, content


def _iterate_members(archive: Path) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    try:
        # tarfile mistakes damage for the end of the archive, but gzip compares checksums at its end.
        with open_unpacked(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as opened:
            for member in opened:
                if member.isfile() and (content := opened.extractfile(member)) is not None:
                    yield member, cast(BinaryIO, content)
            while unpacked.read(2**20):
                pass
    except DAMAGED_FILE_ERRORS as error:
        raise DataError(f"{archive} is damaged ({error}): fetch it again") from None
