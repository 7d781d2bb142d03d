"""Csv files of values over time are predicted as `condi prepare` reads them."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from condi_core.windows import Schema
from data_partitions.description.reading import read_description
from data_partitions.prepare import prepare_site
from data_partitions.sources.described.reader import DescribedDataset
from server_app.cli import app
from tests.helpers.generated_run import write_run

DESCRIPTION = """
dataset.name = "ward"
[files]
format = "csv"
path = "stays/{record}.csv"
time = "{date} {clock}"
[table]
path = "stays.csv"
record = "record"
start = "admitted"
[window]
length = "6 h"
take = "first"
grid = "1 h"
[signals."HR (bpm)"]
unit = "bpm"
[signals.Temp]
unit = "degC"
channels = ["T1", "T2"]
channel-units = { T2 = "degF" }
[task]
kind = "binary"
name = "death"
column = "died"
"""
STAYS = 12


@pytest.fixture
def ward(tmp_path):
    """A folder with files that only the description explains, what was prepared of them, and a run."""
    (tmp_path / "files" / "stays").mkdir(parents=True)
    for stay in range(STAYS):
        # In no order; the first row is two hours after the admission.
        rows = [
            f"2150-01-01,{h:02}:20,{60 + stay + h},{37 if h % 2 else ''},{98 if h != 4 else ''}"
            for h in (5, 2, 4, 3)
        ]
        text = "\n".join([" date ,clock, HR (bpm) ,T1,T2", *rows])
        (tmp_path / "files" / "stays" / f"s{stay:02}.csv").write_text(text + "\n")
    table = [f"s{stay:02},2150-01-01 00:10,{stay % 2}" for stay in range(STAYS)]
    (tmp_path / "files" / "stays.csv").write_text("\n".join(["record,admitted,died", *table]) + "\n")
    (tmp_path / "dataset.toml").write_text(DESCRIPTION)
    reader = DescribedDataset(read_description(tmp_path / "dataset.toml"))
    partition = prepare_site(reader, tmp_path / "files", tmp_path / "north", "north")
    write_run(tmp_path / "run", Schema.model_validate(partition.manifest.schema_fields()))
    return tmp_path


def predict(ward, data):
    options = ["--map", ward / "dataset.toml"] if data == "files" else []
    arguments = ["predict", "--model", ward / "run", "--data", ward / data, *options]
    arguments += ["--out", ward / f"{data}.csv", "--samples", 3]
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    return result.stderr, pd.read_csv(ward / f"{data}.csv").set_index("record").sort_index()


def test_their_predictions_are_those_of_the_partition_made_of_them(ward):
    notes, table = predict(ward, "files")
    assert notes.startswith("note: Times go back in 24 rows") and len(table) == STAYS
    pd.testing.assert_frame_equal(table, predict(ward, "north")[1], atol=2e-6)


def test_a_table_that_is_not_there_is_noted(ward):
    (ward / "files" / "stays.csv").unlink()
    notes, table = predict(ward, "files")
    assert len(table) == STAYS
    assert notes.startswith("note: stays.csv, the table of the description, is not in")
    assert "windows are counted from the first row or sample" in notes


def test_a_file_without_a_row_is_noted(ward):
    table = ward / "files" / "stays.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    notes, table = predict(ward, "files")
    assert len(table) == STAYS - 1 and "the table has no row of them (1)" in notes and "s11" in notes


def test_copies_are_completed_in_the_order_of_their_rows(ward):
    options = ["--map", ward / "dataset.toml", "--samples", 0, "--allow-absent"]
    arguments = ["impute", "--model", ward / "run", "--data", ward / "files", *options, "--out", ward / "out"]
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    assert "Times go back in" in result.output
    source, copy = (pd.read_csv(ward / name / "stays" / "s03.csv", dtype=str) for name in ("files", "out"))
    filled = source.isna() & copy.notna()
    assert copy["clock"].tolist() == ["05:20", "02:20", "04:20", "03:20"]
    assert filled["T1"].tolist() == [False, True, True, False]
    assert copy["T1"][1] == "36.6667"  # measured as 98 degF in the other column
    pd.testing.assert_frame_equal(copy.mask(filled), source)
