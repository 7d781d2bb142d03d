"""How a csv or parquet file is written, and what its columns hold."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from data_partitions.checks.guess.folder import FolderFiles
from data_partitions.description.time_texts import parse_clock
from data_partitions.errors import DataError
from data_partitions.events.times import COMMON_FORMATS
from data_partitions.expansion import open_unpacked

SEPARATORS = (",", ";", "\t", "|")
START_BYTES = 2**18  # from which the separator is guessed
MAX_TABLES = 40  # beside the recordings that are looked at
MAX_ROWS = 100_000  # of a table that are looked at
MAX_TEXTS = 20  # distinct texts of a column that are listed
MISSING_TEXTS = ("", "na", "nan", "null", "none", "n/a", "nat", "<na>", ".", "-", "?")
_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?")
# Columns of the numbers of rows, which pandas writes: without a name in csv files.
_ROW_NUMBERS = re.compile(r"__index_level_\d+__|Unnamed: \d+|")


class Written(NamedTuple):
    """How a text file is written."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"


class ColumnFacts(NamedTuple):
    """What a column holds."""

    name: str
    kind: str  # "number", "text", "datetime" (time stamps), "clock" (HH:MM), or "empty"
    rows: int  # cells that are not missing
    distinct: int  # number of different texts
    texts: dict[str, int]  # the commonest texts with their counts
    low: float = float("nan")  # lowest and highest number
    high: float = float("nan")
    time_format: str = ""  # of time stamps that are not in ISO 8601

    @property
    def is_whole(self) -> bool:
        """Whether all numbers that are listed are whole."""
        return self.kind == "number" and all(re.fullmatch(r"-?\d+(\.0+)?", text) for text in self.texts)


class SniffedTable(NamedTuple):
    """The first rows of a table as text, and facts about its columns."""

    path: Path
    written: Written
    rows: pd.DataFrame
    columns: dict[str, ColumnFacts]
    complete: bool


def sniff_table(path: Path, content: bytes | None = None) -> SniffedTable:
    """Read the first rows of a csv or parquet file, or of its content; DataError when it is no table."""
    if path.suffix.lower() in (".parquet", ".pq") and content is None:
        rows, written, complete = _read_parquet(path)
    else:
        start = content[:START_BYTES] if content is not None else _read_start(path)
        written = guess_writing(start, path)
        stream = io.BytesIO(content) if content is not None else path
        try:
            rows = pd.read_csv(
                stream,
                sep=written.separator,
                encoding="utf-8-sig" if written.encoding == "utf-8" else written.encoding,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
                nrows=MAX_ROWS + 1,
                on_bad_lines="skip",
            )
        except (ValueError, OSError) as error:
            raise DataError(f"{path} is not a table ({' '.join(str(error).split())[:100]})") from None
        complete = len(rows) <= MAX_ROWS
    rows.columns = [str(name).strip() for name in rows.columns]
    rows = rows.loc[:, [_ROW_NUMBERS.fullmatch(name) is None for name in rows.columns]]
    rows = rows.head(MAX_ROWS).apply(lambda column: column.str.strip())
    facts = {name: describe_column(str(name), rows[name], written.decimal) for name in dict.fromkeys(rows)}
    return SniffedTable(path, written, rows, facts, complete)


def sniff_tables(folder: FolderFiles, exclude: Sequence[str] = ()) -> list[SniffedTable]:
    """Read the start of the tables of a folder, those in its upper folders first; others are passed over."""
    paths = [path for kind in ("csv", "parquet") for path in folder.of_kind(kind) if path not in set(exclude)]
    tables = []
    for path in sorted(paths, key=lambda path: (path.count("/"), path))[:MAX_TABLES]:
        try:
            table = sniff_table(folder.source / path)
        except DataError:
            continue
        if len(table.columns) > 1 and len(table.rows):
            tables.append(table)
    return tables


def guess_writing(start: bytes, path: Path) -> Written:
    """Guess separator, decimal sign and encoding from the start of a file; DataError if it is no table."""
    try:
        text, encoding = start.removeprefix(b"\xef\xbb\xbf").decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        if error.start > len(start) - 4:  # cut within a character
            text, encoding = start[: error.start].removeprefix(b"\xef\xbb\xbf").decode("utf-8"), "utf-8"
        else:
            text, encoding = start.decode("latin-1"), "latin-1"
    if "\x00" in text:
        raise DataError(f"{path} is not a text file")
    lines = text.splitlines()[:200]
    lines = lines[:-1] if len(lines) > 1 and not text.endswith("\n") else lines
    separator = max(SEPARATORS, key=lambda sign: _regularity(lines, sign))
    if _regularity(lines, separator) == 0:
        raise DataError(f"{path} is not a table: its lines have no common separator")
    cells = [cell for row in csv.reader(lines[1:], delimiter=separator) for cell in row]
    commas = sum(bool(re.fullmatch(r"-?\d+,\d+", cell.strip())) for cell in cells)
    points = sum(bool(re.fullmatch(r"-?\d+\.\d+", cell.strip())) for cell in cells)
    return Written(separator, "," if separator != "," and commas > points else ".", encoding)


def describe_column(name: str, cells: pd.Series, decimal: str = ".") -> ColumnFacts:
    """Say what a column of texts holds."""
    if isinstance(cells, pd.DataFrame):  # two columns of one name
        cells = cells.iloc[:, 0]
    counts = Counter(cells.tolist())
    words = {text: count for text, count in counts.items() if text.lower() not in MISSING_TEXTS}
    rows, distinct = sum(words.values()), len(words)
    texts = dict(sorted(words.items(), key=lambda item: -item[1])[:MAX_TEXTS])
    if not rows:
        return ColumnFacts(name, "empty", 0, 0, {})
    keys = pd.Series(list(words), dtype=object)
    numbers = pd.to_numeric(keys.str.replace(decimal, ".") if decimal != "." else keys, errors="coerce")
    if numbers.notna().sum() >= 0.9 * distinct and numbers.notna().any():
        return ColumnFacts(name, "number", rows, distinct, texts, float(numbers.min()), float(numbers.max()))
    some = list(words)[:200]
    if _share(parse_clock(text) is not None for text in some) > 0.9:
        return ColumnFacts(name, "clock", rows, distinct, texts)
    if _share(bool(_ISO.fullmatch(text)) for text in some) > 0.9:
        return ColumnFacts(name, "datetime", rows, distinct, texts)
    for time_format in COMMON_FORMATS:
        if pd.to_datetime(pd.Series(some), format=time_format, errors="coerce").notna().mean() > 0.98:
            return ColumnFacts(name, "datetime", rows, distinct, texts, time_format=time_format)
    return ColumnFacts(name, "text", rows, distinct, texts)


def _share(truths: Iterable[bool]) -> float:
    values = list(truths)
    return sum(values) / max(len(values), 1)


def _regularity(lines: list[str], separator: str) -> float:
    """Return the number of cells that most lines have, times their share; 0 for a single cell."""
    widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator) if row)
    if not widths:
        return 0.0
    width, count = widths.most_common(1)[0]
    header = next((len(row) for row in csv.reader(lines[:1], delimiter=separator)), 0)
    return width * count / widths.total() if width > 1 and header == width else 0.0


def _read_start(path: Path) -> bytes:
    try:
        with open_unpacked(path) as file:
            return file.read(START_BYTES)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def _read_parquet(path: Path) -> tuple[pd.DataFrame, Written, bool]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=MAX_ROWS), None)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a table ({' '.join(str(error).split())[:100]})") from None
    if batch is None:
        return pd.DataFrame(), Written(), True
    columns = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_nested(column.type):
            continue
        columns[name] = column.cast(pa.string()).to_pandas().fillna("")
    return pd.DataFrame(columns, dtype=str), Written(), file.metadata.num_rows <= MAX_ROWS
