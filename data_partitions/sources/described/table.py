"""The table of recordings or stays, as text, and the times in its cells."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from data_partitions.cell_texts import normalise
from data_partitions.description.durations import SECONDS
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.expansion import open_unpacked, require_plausible_size, text_bytes
from data_partitions.sentences import count_noun, suggest
from data_partitions.sources.described.faults import description_error
from data_partitions.sources.described.files import fields_of_pattern, match_files

MISSING_TEXTS = ("", "NA", "NaN", "nan", "null", "None", "<NA>", "NaT")


def read_table(description: Description, source: Path) -> pd.DataFrame | None:
    """Read the table of a description; None if it has none.

    Returns
    -------
    DataFrame
        All cells as text without blanks around it, "" where nothing is stated. `attrs["clashes"]`: sentences
        about columns that differ between joined tables.

    Raises
    ------
    DataError
        The table cannot be read, or has no rows.
    """
    section = description.table
    if not section.path:
        return None
    files = [match.path for match in match_files(source, section.path)]
    if not files:
        raise description_error(description, "table.path", f"there is no {source / section.path}")
    table = pd.concat([_read_part(description, file) for file in files], ignore_index=True).fillna("")
    if table.empty:
        raise DataError(f"{files[0]} has no rows: it should have one for each recording")
    return _join_tables(description, source, table)


def _join_tables(description: Description, source: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the other tables; of those that both have, the first counts."""
    clashes: list[str] = []
    for name, section in description.table.join.items():
        key, column = f"table.join.{name}", section.key or section.on
        file = source / section.path
        if not file.is_file():
            raise description_error(description, f"{key}.path", f"there is no {file}")
        other = _read_part(description, file)
        for where, wanted, names in ((f"{key}.on", section.on, table), (f"{key}.key", column, other)):
            if wanted not in names:
                raise description_error(
                    description, where, f'there is no column "{wanted}"{suggest(wanted, names.columns)}'
                )
        table[section.on], other[column] = table[section.on].map(normalise), other[column].map(normalise)
        other = other[other[column] != ""].drop_duplicates().set_index(column, drop=False)
        used = other[other.index.isin(table[section.on])]
        if used.empty:
            raise description_error(
                description, key, f"no {section.on} of the table is a {column} of {file.name}"
            )
        if used.index.has_duplicates:
            first = used.index[used.index.duplicated()][0]
            raise DataError(f"{file} has different rows of {column} {first}, where one was expected")
        for clash in sorted(set(used.columns) & set(table.columns) & _used_columns(description)):
            texts = table[section.on].map(used[clash]).fillna("")
            if ((texts != "") & (texts != table[clash])).any():
                clashes.append(
                    f'{file.name} and the tables before it have different texts in the column "{clash}": '
                    "those of the first table count"
                )
        for added in other.columns.difference(table.columns, sort=False):
            table[added] = table[section.on].map(used[added]).fillna("")
    for column in _id_columns(description) & set(table.columns):
        table[column] = table[column].map(normalise)
    table.attrs["clashes"] = clashes
    return table


def _id_columns(description: Description) -> set[str]:
    """Return the columns with names of recordings or patients, or with parts of them."""
    table, files = description.table, description.files
    named = [table.record, files.record, table.patient]
    patterns = [files.path, *(text for text in named if "{" in text)]
    return {"record", *named, *(field for pattern in patterns for field in fields_of_pattern(pattern))}


def _used_columns(description: Description) -> set[str]:
    table, task = description.table, description.task
    columns = {table.record, table.patient, table.site, table.start, table.end, description.window.start}
    columns |= {task.column, *task.columns.values(), description.split.column}
    columns |= {section.column or name for name, section in description.covariates.items()}
    return columns | {join.on for join in table.join.values()}


def _read_part(description: Description, file: Path) -> pd.DataFrame:
    section = description.table
    encoding = "utf-8-sig" if section.encoding.lower() in ("utf-8", "utf8") else section.encoding
    return read_cells(file, section.separator, encoding, section.decimal)


def read_cells(
    file: Path, separator: str = ",", encoding: str = "utf-8-sig", decimal: str = "."
) -> pd.DataFrame:
    """Read a csv (also compressed with gzip) or parquet file as text; DataError when it cannot be read.

    Numbers of a parquet file get the decimal mark of the description, as those of a csv file have it.
    """
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            table = _read_parquet(file, decimal)
        else:
            with open_unpacked(file) as opened:
                text = io.TextIOWrapper(opened, encoding, newline="").read()
            table = _parse_csv(file, text, separator)
    except DataError:
        raise
    except (ValueError, OSError, LookupError, csv.Error) as error:  # ValueErrors of parsers and encodings
        raise DataError(f"{file} is not a readable table ({' '.join(str(error).split())[:200]})") from None
    table = table.apply(lambda column: column.str.strip())
    table.columns = [str(name).strip() for name in table.columns]
    return table.mask(table.isin(MISSING_TEXTS), "")


def _parse_csv(file: Path, text: str, separator: str) -> pd.DataFrame:
    """Return the cells of a csv text; DataError when a row has other cells than the header has names.

    Empty cells after the last name are dropped, as of rows that end with a separator.
    """
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows = (row for row in lines if len(row) > 1 or "".join(row).strip())
    width = len(next(rows, []))
    for number, row in enumerate(rows, start=2):
        if len(row) < width or "".join(row[width:]).strip():
            raise DataError(
                f"{file}: row {number} has {count_noun(len(row), 'cell')}, the header has {width}: correct "
                "the row, or give the separator of the cells"
            )
    # Else pandas would make an index of the first column, where rows are longer than the header.
    return pd.read_csv(
        io.StringIO(text, newline=""),
        sep=separator,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        index_col=False,
        usecols=range(width),
    )


def _read_parquet(file: Path, decimal: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata, schema = pq.read_metadata(file), pq.read_schema(file)
    columns = [field.name for field in schema if field.type in (pa.string(), pa.large_string())]
    require_plausible_size(file, file.stat().st_size, metadata.num_rows * metadata.num_columns)
    table = pq.read_table(file, read_dictionary=columns)
    size = sum(text_bytes(chunk) for name in columns for chunk in table[name].chunks)
    require_plausible_size(file, file.stat().st_size, size)
    texts = {}
    for name in table.column_names:
        try:
            texts[name] = table[name].cast(pa.string()).to_pandas().fillna("")
        except (NotImplementedError, ValueError):  # lists, bytes and the like cannot be in a cell of text
            continue
    for field in schema:
        if pa.types.is_floating(field.type) or pa.types.is_decimal(field.type):
            texts[field.name] = texts[field.name].str.replace(".", decimal)
    return pd.DataFrame(texts, dtype=str)


def parse_time(text: str, unit: str, time_format: str, decimal: str = ".") -> float:
    """Return a time in s: since 1970 for time stamps, else elapsed; ValueError when it is not a time."""
    if unit != "datetime":
        if not math.isfinite(elapsed := float(text.replace(decimal, "."))):
            raise ValueError(f"{text} is not a time")
        return elapsed * SECONDS[unit]
    time = parse_stamp(text, time_format)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def parse_stamp(text: str, time_format: str = "") -> datetime:
    """Return a time stamp, by default of ISO 8601; ValueError when it is none."""
    return datetime.strptime(text, time_format) if time_format else datetime.fromisoformat(text)


def subtract_start(time: datetime, start: datetime, of_time: object, of_start: object) -> float:
    """Return the time since a start in s; DataError, with the names of both, if one alone has a zone."""
    if (time.tzinfo is None) != (start.tzinfo is None):
        words = ("no time zone", "one") if time.tzinfo is None else ("a time zone", "none")
        raise DataError(
            f"times of {of_time} have {words[0]} and the start in {of_start} has {words[1]}, and so they "
            "cannot be compared: write all with their zone, or all in one local time"
        )
    return (time - start).total_seconds()


def parse_number(text: str, decimal: str = ".") -> float:
    """Return a number that is written with a decimal point or comma; ValueError when it is none."""
    if decimal != "." and "." in text:
        raise ValueError(f"{text} has a point, perhaps between thousands")
    return float(text.replace(decimal, "."))
