"""The table with a row for each recording, and other tables that can be joined to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_partitions.checks.guess.draft import Draft, section_name
from data_partitions.checks.guess.roles import find_labels, find_record_column, safe_name
from data_partitions.checks.guess.tables import ColumnFacts, SniffedTable
from data_partitions.sentences import list_some


class RecordTable(NamedTuple):
    """The table of recordings."""

    table: SniffedTable
    record: str  # its column with the names of the recordings, or with the paths of their files
    share: float  # share of the recordings that have a row
    of_paths: bool  # whether `record` has paths
    columns: Mapping[str, ColumnFacts]  # what its columns hold, and those of the tables that are joined to it


def find_record_table(
    tables: Sequence[SniffedTable], records: Collection[str], paths: Collection[str] = ()
) -> RecordTable | None:
    """Return the table that has a row for most recordings, one with a label column if there is one.

    Recordings are known by their names, or by the paths of their files without suffix.
    """
    candidates = []
    for table in tables:
        texts = {name: table.rows[name].unique() for name in table.columns if not _is_repeated(table, name)}
        by_name = find_record_column(texts, records)
        by_path = find_record_column(texts, paths)
        if by_path[1] > by_name[1]:
            candidates.append(RecordTable(table, *by_path, True, table.columns))
        elif by_name[0]:
            candidates.append(RecordTable(table, *by_name, False, table.columns))
    return max(
        candidates,
        key=lambda each: (
            round(each.share, 1),
            bool(find_labels(each.table.columns)),
            len(each.table.columns),
        ),
        default=None,
    )


def _is_repeated(table: SniffedTable, name: str) -> bool:
    """Return whether a column has fewer than half as many texts as rows, so that it names no recordings."""
    facts = table.columns[name]
    return facts.distinct < 0.5 * max(facts.rows, 1)


def join_tables(
    draft: Draft, chosen: RecordTable, source: Path, others: Sequence[SniffedTable]
) -> RecordTable:
    """Write `[table.join]` for tables with one row for each text of a column; return the joined table."""
    columns = dict(chosen.columns)
    for other in others:
        if other.path == chosen.table.path or other.written != chosen.table.written:
            continue
        key = next((name for name in other.columns if name in columns and _is_unique(other, name)), "")
        new = {name: facts for name, facts in other.columns.items() if name not in columns}
        shared = set(chosen.table.rows[key]) & set(other.rows[key]) if key in chosen.table.rows else ()
        if not key or not new or len(shared) < 0.5 * columns[key].distinct:
            continue
        section = section_name("table", "join", safe_name(other.path.name.split(".")[0]))
        draft.set(section, "path", other.path.relative_to(source).as_posix(), f"adds {list_some(new, 8)}")
        draft.set(section, "on", key)
        columns |= new
    return chosen._replace(columns=columns)


def _is_unique(table: SniffedTable, name: str) -> bool:
    facts = table.columns[name]
    return table.complete and facts.distinct == len(table.rows)
