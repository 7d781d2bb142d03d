"""Folders of PTB-XL in tests: their index and rows, changes to their files, and refusals."""

import pandas as pd
import pytest

from data_partitions import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import ptb_xl


def index(source, log=None, **options):
    """Return the index of a source. Without a log, the first rejected record raises its error."""
    return ptb_xl.index(source, log or PreparationLog(strict=True), **options)


def change_table(source, change):
    """Replace the table of records by `change` of it."""
    file = source / "ptbxl_database.csv"
    table = pd.read_csv(file)
    table = change(table)
    table.to_csv(file, index=False)


def set_cells(source, row, **cells):
    """Set cells, by column, in a row of the table of records (or in several rows)."""

    def change(table):
        table = table.astype(object)
        for name, value in cells.items():
            table.loc[row, name] = value
        return table

    change_table(source, change)


def change_header(source, record, *replacements):
    """Make replacements (old text, new text) in the header of a record."""
    file = source / f"records100/00000/{record:05d}_lr.hea"
    text = file.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def row_of(source, record):
    """Return the row of a record in the index."""
    table = index(source)
    return table[table["record_id"] == str(record)].iloc[0]


def assert_refused(function, *parts):
    """Assert that a function raises DataError with one sentence that has all parts."""
    with pytest.raises(DataError) as error:
        function()
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence, sentence
