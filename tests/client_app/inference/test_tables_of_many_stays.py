"""Tables of many stays, with one value in each row, are read into a partition by the commands on a run."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from condi_core.windows import Schema
from data_partitions.description.reading import read_description
from data_partitions.partition import Partition
from data_partitions.prepare import prepare_site
from data_partitions.sources.described.reader import DescribedDataset
from server_app.cli import app
from tests.helpers.generated_run import write_run

STAYS, HOURS = 12, 6
NOTE = "Dropped because they are outside the range of their signal: Temp 3."  # degrees of the first stay
DESCRIPTION = """
dataset.name = "ward"
[files]
format = "csv"
path = "values.csv"
record = "stay"
time = "hour"
time-unit = "h"
variable = "signal"
value = "number"
[table]
path = "stays.csv"
record = "stay"
[window]
length = "6 h"
take = "first"
grid = "1 h"
[signals.HR]
unit = "bpm"
range = [1, 300]
[signals.Temp]
unit = "degC"
file-unit = "degF"
range = [30, 45]
[task]
kind = "binary"
name = "death"
column = "died"
"""


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """A folder with `files`, their description, the partition of these files, and a run on such windows."""
    folder = tmp_path_factory.mktemp("ward")
    (folder / "files").mkdir()
    values = ["stay,hour,signal,number"]
    for stay in range(STAYS):
        values += [f"{stay},{hour},HR,{60 + stay + hour}" for hour in range(HOURS) if hour != 3]
        values += [f"{stay},{hour},Temp,{98.6 if stay else 20}" for hour in range(0, HOURS, 2)]
    (folder / "files" / "values.csv").write_text("\n".join(values) + "\n")
    stays = ["stay,died", *(f"{stay},{stay % 2}" for stay in range(STAYS))]
    (folder / "files" / "stays.csv").write_text("\n".join(stays) + "\n")
    (folder / "dataset.toml").write_text(DESCRIPTION)
    reader = DescribedDataset(read_description(folder / "dataset.toml"))
    partition = prepare_site(reader, folder / "files", folder / "north", "north")
    write_run(folder / "run", Schema.model_validate(partition.manifest.schema_fields()))
    return folder


def call(ward, command, data, *options):
    """Call a command on the partition, or on the files with their description."""
    description = ["--map", ward / "dataset.toml"] if data == "files" else []
    arguments = [command, "--model", ward / "run", "--data", ward / data, *description, *options]
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_their_predictions_are_those_of_the_partition_made_of_them(ward, tmp_path):
    for data in ("files", "north"):
        result = call(ward, "predict", data, "--out", tmp_path / f"{data}.csv", "--samples", 3)
        assert result.stderr == (f"note: {NOTE}\n" if data == "files" else "")
    tables = [pd.read_csv(tmp_path / f"{data}.csv").set_index("record") for data in ("files", "north")]
    assert len(tables[0]) == STAYS
    pd.testing.assert_frame_equal(tables[0].sort_index(), tables[1].sort_index(), atol=2e-6)


def test_they_are_completed_into_a_partition(ward, tmp_path):
    result = call(ward, "impute", "files", "--out", tmp_path / "out")
    assert f"completed {STAYS} windows, skipped 0" in result.stdout and NOTE in result.stderr
    before, after = Partition.open(ward / "north"), Partition.open(tmp_path / "out")
    rows = [list(after.record_ids).index(record) for record in before.record_ids]
    values, observed = before.read(range(STAYS))
    completed, complete = after.read(rows)
    assert complete.all() and observed.any(3).sum((0, 2)).tolist() == [STAYS * 5, (STAYS - 1) * 3]
    np.testing.assert_array_equal(completed[observed], values[observed])
    assert ((completed[:, 1] >= 30) & (completed[:, 1] <= 45)).all()


def test_their_evaluation_is_that_of_the_partition_made_of_them(ward):
    options = ("--split", "all", "--bootstrap", 0)
    result, expected = (
        json.loads(call(ward, "evaluate", data, *options, "--json").stdout) for data in ("files", "north")
    )
    assert (result["notes"], expected["notes"]) == ([NOTE], [])
    assert result["labelled"] == STAYS and result["task"] == expected["task"]
    assert NOTE in call(ward, "evaluate", "files", *options).stderr


MEDS = """
dataset.name = "meds"
files = { format = "meds", path = "data/*.parquet" }
window = { length = "4 h", grid = "1 h", take = "first" }
signals.HR = { unit = "bpm" }
task = { kind = "binary", name = "death", file = "death.parquet", event = ["true"] }
"""


def test_windows_of_meds_end_at_the_prediction_times_without_labels(tmp_path):
    hours = pd.Timestamp("2150-01-01") + pd.to_timedelta(np.arange(8), "h")
    events = pd.concat(
        pd.DataFrame({"subject_id": s, "time": hours, "code": "HR", "numeric_value": 60.0 + s + np.arange(8)})
        for s in range(10)
    )
    (tmp_path / "files" / "data").mkdir(parents=True)
    events.astype({"time": "datetime64[us]"}).to_parquet(tmp_path / "files" / "data" / "0.parquet")
    times = pd.DataFrame(
        {"subject_id": range(10), "prediction_time": hours[6], "boolean_value": [True, False] * 5}
    )
    times.to_parquet(tmp_path / "files" / "death.parquet")
    (tmp_path / "dataset.toml").write_text(MEDS)
    reader = DescribedDataset(read_description(tmp_path / "dataset.toml"))
    labelled = prepare_site(reader, tmp_path / "files", tmp_path / "north", "north")
    write_run(tmp_path / "run", Schema.model_validate(labelled.manifest.schema_fields()))
    times.to_parquet(tmp_path / "files" / "death.parquet")
    call(tmp_path, "predict", "files", "--out", tmp_path / "p.csv", "--samples", 0)
    assert len(pd.read_csv(tmp_path / "p.csv")) == 10
    call(tmp_path, "impute", "files", "--out", tmp_path / "completed")
    completed = Partition.open(tmp_path / "completed")
    assert completed.read([3])[0][0, 0].ravel().tolist() == [65, 66, 67, 68]
