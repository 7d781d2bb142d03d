"""The table of recordings or stays, as text, and the times in its cells."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from data_partitions.description.durations import SECONDS
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.sources.described.faults import description_error, suggest

MISSING_TEXTS = ("", "NA", "NaN", "nan", "null", "None", "<NA>", "NaT")


def read_table(description: Description, source: Path) -> pd.DataFrame | None:
    """Read the table of a description; None if it has none.

    Returns
    -------
    DataFrame
        All cells as text without blanks around it, "" where nothing is stated.

    Raises
    ------
    DataError
        The table cannot be read, or has no rows.
    """
    section = description.table
    if not section.path:
        return None
    file = source / section.path
    if not file.is_file():
        raise description_error(description, "table.path", f"there is no {file}")
    encoding = "utf-8-sig" if section.encoding.lower() in ("utf-8", "utf8") else section.encoding
    table = read_cells(file, section.separator, encoding)
    if table.empty:
        raise DataError(f"{file} has no rows: it should have one for each recording")
    return table


def read_cells(file: Path, separator: str = ",", encoding: str = "utf-8-sig") -> pd.DataFrame:
    """Read a csv (also compressed) or parquet file as text; DataError when it cannot be read."""
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            table = _read_parquet(file)
        else:
            table = pd.read_csv(
                file,
                sep=separator,
                encoding=encoding,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
            )
    except (ValueError, OSError, LookupError) as error:  # errors of parsers and encodings are ValueErrors
        raise DataError(f"{file} is not a readable table ({' '.join(str(error).split())[:200]})") from None
    table = table.apply(lambda column: column.str.strip())
    table.columns = [str(name).strip() for name in table.columns]
    return table.mask(table.isin(MISSING_TEXTS), "")


def _read_parquet(file: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    texts = {name: table[name].cast(pa.string()).to_pandas().fillna("") for name in table.column_names}
    return pd.DataFrame(texts, dtype=str)


def require_column(description: Description, key: str, column: str, table: pd.DataFrame) -> None:
    """Raise DataError, with the line of the setting `key`, unless the table has a column."""
    if column not in table:
        raise description_error(
            description,
            key,
            f'{description.table.path} has no column "{column}"{suggest(column, table.columns)} '
            f"It has {', '.join(table.columns)}",
        )


def parse_time(text: str, unit: str, time_format: str) -> float:
    """Return a time in s: since 1970 for time stamps, else elapsed; ValueError when it is not a time."""
    if unit != "datetime":
        return float(text) * SECONDS[unit]
    time = datetime.strptime(text, time_format) if time_format else datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def parse_number(text: str, decimal: str = ".") -> float:
    """Return a number that is written with a decimal point or comma; ValueError when it is none."""
    return float(text.replace(decimal, ".") if decimal != "." else text)
