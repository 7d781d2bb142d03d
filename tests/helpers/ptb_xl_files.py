"""A folder of PTB-XL in tests: its index and rows, changes to its files, and how they are refused."""

import pandas as pd
import pytest

from data_partitions import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import ptb_xl


def index(source, log=None, **options):
    """The index of a source in which the first bad record is an error, unless a log is given."""
    return ptb_xl.index(source, log or PreparationLog(strict=True), **options)


def change_table(source, change):
    file = source / "ptbxl_database.csv"
    table = pd.read_csv(file)
    table = change(table)
    table.to_csv(file, index=False)


def set_cell(source, row, **cells):
    def change(table):
        table = table.astype(object)
        for name, value in cells.items():
            table.loc[row, name] = value
        return table

    change_table(source, change)


def change_header(source, record, *replacements):
    file = source / f"records100/00000/{record:05d}_lr.hea"
    text = file.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def row_of(source, record):
    table = index(source)
    return table[table["record_id"] == str(record)].iloc[0]


def refused(function, *parts):
    with pytest.raises(DataError) as error:
        function()
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence, sentence
