"""The recordings of a source: the rows of the table, and the files that belong to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.sentences import count_noun, join_words, quote_some, suggest
from data_partitions.sources.described.faults import description_error, require_column
from data_partitions.sources.described.files import (
    MatchedFile,
    describe_files,
    fields_of_pattern,
    fill_pattern,
    match_files,
)
from data_partitions.sources.described.parts import split_files
from data_partitions.sources.described.table import read_table


@dataclass(frozen=True)
class ListedRecording:
    """A recording or stay, before its file is opened."""

    record: str  # names; `site` is "" where none is stated
    patient: str
    site: str
    file: Path  # its file, or the first where files have several stays
    row: Mapping[str, str]  # texts of its row in the table and of the fields of its path
    part: str = ""  # its name in a file of several


@dataclass(frozen=True)
class Listing:
    """The recordings of a source, and what does not fit together."""

    recordings: list[ListedRecording]  # in the order of the table, or of the paths
    rows_without_file: list[str] = field(default_factory=list)  # names of the recordings and of the files
    files_without_row: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()  # columns of the table and fields of the paths
    faults: list[str] = field(default_factory=list)  # sentences about rows and files that are left out
    # Sentences about columns that differ between joined tables.
    clashes: list[str] = field(default_factory=list)


def list_recordings(description: Description, source: Path) -> Listing:
    """Find the recordings that a description speaks of.

    Raises
    ------
    DataError
        The table cannot be read, no file fits the pattern, or no row has a file.
    """
    table = read_table(description, source)
    columns = () if table is None else tuple(table.columns)
    pattern = description.files.path
    matches = match_files(source, pattern, columns)
    if not matches:
        raise description_error(
            description, "files.path", f'no file fits "{pattern}": {describe_files(source)}'
        )
    matches, faults = split_files(description.files, matches, source)
    if not matches:
        raise DataError(faults[0])
    if table is None:
        listing = _list_files(description, matches, source)
    else:
        listing = _join(description, table, matches, source)
    clashes = [] if table is None else table.attrs.get("clashes", [])
    return replace(listing, faults=[*faults, *listing.faults], clashes=clashes)


def name_recording(description: Description, match: MatchedFile, source: Path) -> str:
    """Return the name of a file's recording: a field, a pattern of fields, or else its path."""
    named = description.table.record
    if "{" in named:
        return normalise(_fill(description, "table.record", named, match.fields))
    for name in (named, "record"):
        if name and name in match.fields:
            return normalise(match.fields[name])
    path = Path(match.member) if match.member else match.path.relative_to(source)
    return normalise(path.with_suffix("").as_posix())


def _fill(description: Description, key: str, pattern: str, fields: Mapping[str, str]) -> str:
    try:
        return fill_pattern(pattern, fields)
    except DataError as error:
        raise description_error(description, key, str(error)) from None


def _text_of(description: Description, key: str, named: str, row: Mapping[str, str], default: str) -> str:
    """Return the text of a column or of a pattern of fields."""
    if not named:
        return default
    if "{" in named:
        return _fill(description, key, named, row)
    if named not in row:
        raise description_error(
            description, key, f'there is no column or field "{named}"{suggest(named, row)}'
        )
    return row[named]


def describe_row(
    description: Description, record: str, file: Path, row: Mapping[str, str], part: str = ""
) -> ListedRecording:
    """Return a recording with its patient and its hospital, by the texts of its row."""
    section = description.table
    row = {"record": record, **row}
    patient = normalise(_text_of(description, "table.patient", section.patient, row, record))
    site = normalise(_text_of(description, "table.site", section.site, row, ""))
    names = (name for name, texts in section.sites.items() if site in map(normalise, texts))
    return ListedRecording(record, patient, next(names, site), file, row, part)


def _list_files(description: Description, matches: list[MatchedFile], source: Path) -> Listing:
    by_name: dict[str, list[MatchedFile]] = defaultdict(list)
    for match in matches:
        by_name[name_recording(description, match, source)].append(match)
    faults = [
        describe_repetition(name, [match.path for match in files])
        for name, files in by_name.items()
        if len(files) > 1
    ]
    recordings = [
        describe_row(description, name, files[0].path, files[0].fields, files[0].part)
        for name, files in by_name.items()
    ]
    return Listing(recordings, columns=tuple(recordings[0].row), faults=faults)


def describe_repetition(name: str, files: Sequence[object]) -> str:
    """Say that a recording has several files, which are given as texts or paths."""
    paths = quote_some(files, 2)
    return f"recording {name} has {len(files)} files, of which only the first is read: {paths}"


def unique_rows(table: pd.DataFrame, keys: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of the recordings that have one row, and a sentence about each other one.

    A recording is named by the texts in all of the columns `keys`.
    """
    table = table.drop_duplicates()
    faults = []
    if (unnamed := (table[list(keys)] == "").any(axis=1)).any():
        columns = join_words(keys, "or")
        faults.append(f"{count_noun(int(unnamed.sum()), 'row')} of the table without a text in {columns}")
    repeated = table.duplicated(list(keys), keep=False) & ~unnamed
    faults += [
        f"recording {'/'.join(name)} has {count} different rows in the table, where one was expected"
        for name, count in Counter(table.loc[repeated, list(keys)].itertuples(index=False, name=None)).items()
    ]
    rows: list[dict[str, str]] = table[~unnamed & ~repeated].to_dict("records")  # type: ignore[assignment]
    return rows, faults


def _join(description: Description, table: pd.DataFrame, matches: list[MatchedFile], source: Path) -> Listing:
    section = description.table
    fields = fields_of_pattern(description.files.path)
    # In a file of several recordings, these have names of their own.
    keys = [name for name in fields if name in table and not any(match.part for match in matches)]
    if section.record and "{" not in section.record and section.record not in fields:
        require_column(description, "table.record", section.record, table.columns)
    column = section.record if section.record in table else ""
    if not keys and not column:
        column = "record"
        require_column(description, "table.record", section.record or column, table.columns)
    rows, faults = unique_rows(table, [column] if column else keys)
    by_key: dict[tuple[str, ...], list[MatchedFile]] = defaultdict(list)
    for match in matches:
        key = [normalise(match.fields[name]) for name in keys] or [name_recording(description, match, source)]
        by_key[tuple(key)].append(match)
    recordings, without_file = [], []
    for row in rows:
        files = by_key.pop(tuple(row[name] for name in keys or [column]), [])
        if not files:
            without_file.append(row[column] if column else "/".join(row[name] for name in keys))
            continue
        texts = {**files[0].fields, **row}
        name = row[column] if column else name_recording(description, files[0], source)
        if len(files) > 1:
            faults.append(describe_repetition(name, [match.path for match in files]))
        recordings.append(describe_row(description, name, files[0].path, texts, files[0].part))
    without_row = [match.part or match.path.name for files in by_key.values() for match in files]
    if not recordings:
        raise description_error(
            description,
            "files.path",
            f"no row of {section.path} has a file: rows are of {quote_some(without_file, 3)}, "
            f"and files are {quote_some(without_row, 3)}",
        )
    return Listing(recordings, without_file, without_row, tuple(recordings[0].row), faults)
