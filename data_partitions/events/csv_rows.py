"""Read csv files as rows of text. Small files are parsed together, which is many times faster than singly."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from data_partitions.description.sections import FilesSection
from data_partitions.errors import DataError
from data_partitions.events.drops import Drops
from data_partitions.events.files import DAMAGED_FILE_ERRORS, EventFile, open_files
from data_partitions.events.rows import ColumnChoice, FaultHandler, Rows
from data_partitions.sentences import quote

if TYPE_CHECKING:
    import pyarrow as pa

SMALL_FILE_BYTES = 2**20  # files of up to this size are parsed together
JOINED_BYTES = 2**23
BLOCK_BYTES = 2**24  # more than joined files have
RAGGED = "row", "with more or fewer cells than the header"
READ_ERRORS = (*DAMAGED_FILE_ERRORS, ValueError)  # DataError, and Arrow's errors, are ValueErrors


def read_csv_rows(
    files: Sequence[EventFile],
    section: FilesSection,
    choose: ColumnChoice,
    reject: FaultHandler,
    drops: Drops,
) -> Iterator[Rows]:
    """Yield the chosen columns of csv files as arrays of strings, in parts of at most about 16 MB of text.

    `reject` receives the fault of a file that cannot be read; rows of other lengths than the header are
    dropped.
    """
    parser = _Parser(section, choose, reject, drops)
    joined: list[tuple[EventFile, bytes]] = []
    header: list[str] = []
    size = 0
    for file, content in open_files(files, reject):
        try:
            line, body, rest = _read_start(content, section.encoding)
            names = _parse_header(line, section.separator)
            choose(str(file), names)
        except READ_ERRORS as error:
            reject(file, _describe_fault(file, error, section))
            continue
        if joined and (names != header or rest is not None or size > JOINED_BYTES):
            yield from parser.parse_joined(joined, header)
            joined, size = [], 0
        if rest is not None:
            yield from parser.parse_one(file, rest, names)
        else:
            header = names
            joined.append((file, body))
            size += len(body)
    if joined:
        yield from parser.parse_joined(joined, header)


class _Parser(NamedTuple):
    """Parses the lines below the headers of files that are written alike."""

    section: FilesSection
    choose: ColumnChoice
    reject: FaultHandler
    drops: Drops

    def parse_joined(self, joined: list[tuple[EventFile, bytes]], names: list[str]) -> Iterator[Rows]:
        """Parse files with the same header as one; or each, if a line of one of them is unusual."""
        files = tuple(file for file, _ in joined)
        ends = np.cumsum([body.count(b"\n") for _, body in joined])
        if len(files) > 1:
            try:
                stream = io.BytesIO(b"".join(body for _, body in joined))
                # Lines in quotes, blank lines and ragged ones all make fewer rows.
                for columns in self._replace(drops=Drops())._parse(files[0], stream, names):
                    if len(next(iter(columns.values()))) == ends[-1]:
                        yield Rows(columns, files, ends, 0)
                        return
            except ValueError:
                pass
        for file, body in joined:
            yield from self.parse_one(file, io.BytesIO(body), names)

    def parse_one(self, file: EventFile, stream: BinaryIO, names: list[str]) -> Iterator[Rows]:
        """Parse a file, and reject it if that fails."""
        before = 0
        try:
            for columns in self._parse(file, stream, names):
                rows = len(next(iter(columns.values())))
                yield Rows(columns, (file,), np.array([rows]), before)
                before += rows
        except READ_ERRORS as error:
            self.reject(file, _describe_fault(file, error, self.section))

    def _parse(self, file: EventFile, stream: BinaryIO, names: list[str]) -> "Iterator[dict[str, pa.Array]]":
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        ragged: list[Any] = []

        def skip(row: Any) -> str:
            ragged.append(row)
            return "skip"

        unique = [str(i) for i in range(len(names))]  # two columns that are not read may have one name
        positions = [names.index(name) for name in self.choose(str(file), names)]
        reader = arrow_csv.open_csv(
            stream,
            arrow_csv.ReadOptions(column_names=unique, block_size=BLOCK_BYTES, use_threads=False),
            arrow_csv.ParseOptions(delimiter=self.section.separator, invalid_row_handler=skip),
            arrow_csv.ConvertOptions(
                column_types={unique[i]: pa.string() for i in positions},
                include_columns=[unique[i] for i in positions],
            ),
        )
        rows = 0
        for batch in reader:
            rows += batch.num_rows
            if batch.num_rows:
                yield {names[i]: batch.column(unique[i]) for i in positions}
        if ragged and not rows:
            raise DataError(
                f"{file}: no row has {len(names)} cells as the header has, the first is "
                f"{quote(ragged[0].text)}: give the separator of the cells in [files]"
            )
        self.drops.add(
            *RAGGED, len(ragged), lambda: f"{file}, row {ragged[0].number}: {quote(ragged[0].text)}"
        )


def _read_start(content: BinaryIO, encoding: str) -> tuple[str, bytes, BinaryIO | None]:
    """Return the header, and the other lines as UTF-8: all of a small file, or a stream of a larger one."""
    if codecs.lookup(encoding).name != "utf-8":
        content = cast(BinaryIO, codecs.EncodedFile(content, "utf-8", encoding))
    start = content.read(SMALL_FILE_BYTES + 1)
    line, *body = re.split(rb"\r\n|\n|\r", start.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n"), maxsplit=1)
    header = line.decode("utf-8")
    if len(start) > SMALL_FILE_BYTES:
        return header, b"", cast(BinaryIO, _Stream(b"".join(body), content))
    b"".join(body).decode("utf-8")  # Arrow does not report rows that are ragged and have another encoding
    text = b"".join(body).replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n")
    return header, text + b"\n" if text else b"", None


def _parse_header(line: str, separator: str) -> list[str]:
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    if not any(names):
        raise DataError("it has no header")
    return names


def _describe_fault(file: EventFile, error: Exception, section: FilesSection) -> DataError:
    words = " ".join(str(error).split())
    if isinstance(error, DataError):
        return error if str(file) in words else DataError(f"{file} cannot be read: {words}")
    if isinstance(error, UnicodeError) or "UTF8" in words:
        return DataError(
            f"{file} is not written in {section.encoding}: give its encoding in [files], such as latin-1"
        )
    if isinstance(error, LookupError):
        return DataError(
            f"the encoding {section.encoding} of [files] is unknown: give one such as utf-8 or latin-1"
        )
    return DataError(f"{file} is damaged ({words}): fetch it again")


class _Stream:
    """The bytes that were read from a file already, and the rest of it, for Arrow to read."""

    closed = False

    def __init__(self, start: bytes, rest: BinaryIO):
        self._start, self._rest = start, rest

    def read(self, size: int = -1) -> bytes:
        start, self._start = self._start, b""
        return start or self._rest.read(size)
