"""`condi predict` and `condi evaluate` of regression, of covariates, and of data without labels."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from data_partitions.federation import open_federation
from server_app.cli import app
from tests.helpers.task_federation import COVARIATES, write_task_federation

QUICK = {"method": "mask", "task.rounds": 2, "name": "run"}


def call(command, run, data, *options):
    result = CliRunner().invoke(app, [command, "--model", str(run), "--data", str(data), *map(str, options)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def stays(tmp_path, run_local):
    """The folder of a site without two labels, and a run of a regression that reads covariates."""
    path = write_task_federation(
        tmp_path / "f", "regression", covariates=COVARIATES, unlabelled_windows=2, unlabelled_sites=(2,)
    )
    directory, _ = run_local(path, QUICK | {"task.covariates": True})
    return path, directory.path


def test_a_regression_is_predicted_with_its_interval(stays, tmp_path):
    path, run = stays
    code, output = call("predict", run, path / "site-1", "--out", tmp_path / "out.csv")
    assert code == 0, output
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[2:5] == ["stay (days)", "stay (days) 5 %", "stay (days) 95 %"] and len(rows) == 18
    for row in rows:
        low, mean, high = (float(row[f"stay (days){end}"]) for end in (" 5 %", "", " 95 %"))
        assert low < mean < high


def test_predictions_read_the_covariates_of_a_partition(stays, tmp_path):
    path, run = stays
    call("predict", run, path / "site-0", "--out", tmp_path / "with.csv")
    site = path / "site-0"
    manifest = json.loads((site / "manifest.json").read_text())
    (site / "manifest.json").write_text(json.dumps(manifest | {"covariates": []}))
    code, _ = call("predict", run, site, "--out", tmp_path / "without.csv")
    assert code == 0, "covariates that a partition does not have count as not recorded"
    with_age, without = ((tmp_path / name).read_text() for name in ("with.csv", "without.csv"))
    assert with_age != without and with_age.count("\n") == without.count("\n") == 19


def test_an_evaluation_has_labelled_windows_and_subgroups(stays):
    path, run = stays
    code, output = call("evaluate", run, path / "site-0", "--json", "--bootstrap", 20)
    assert code == 0, output
    evaluation = json.loads(output)
    assert evaluation["windows"] == evaluation["labelled"] == 6
    groups = evaluation["subgroups"]["mask"]
    assert {name: group["windows"] for name, group in groups["sex"].items()} == {
        "f": 2,
        "m": 4,
        "not recorded": 0,
    }
    partition = open_federation(path).open_site("site-0")
    female = partition.covariates[partition.rows("test"), 1] == 0
    errors = [groups["sex"][name]["metrics"]["mae"]["value"] for name in ("f", "m")]
    overall = evaluation["task"]["mask"]["mae"]["value"]
    assert np.average(errors, weights=[female.sum(), (~female).sum()]) == pytest.approx(overall)
    code, output = call("evaluate", run, path / "site-0", "--bootstrap", 0)
    assert code == 0 and "mask by age" in output and "40 to 65 years" in output


def test_an_evaluation_of_windows_without_labels_has_no_task(stays):
    path, run = stays
    code, output = call("evaluate", run, path / "site-2", "--json", "--bootstrap", 0)
    assert code == 0, output
    evaluation = json.loads(output)
    assert evaluation["labelled"] == 0 and evaluation["task"] == evaluation["subgroups"] == {}


def test_small_subgroups_are_withheld_from_an_evaluation(stays):
    path, run = stays
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"privacy.smallest-count": 3}))
    code, output = call("evaluate", run, path / "site-0", "--json", "--bootstrap", 0)
    assert code == 0, output
    sex = json.loads(output)["subgroups"]["mask"]["sex"]
    assert sex["f"]["metrics"] is None and sex["m"]["metrics"]["mae"]["value"] > 0
    assert "Dashes: fewer patients" in call("evaluate", run, path / "site-0", "--bootstrap", 0)[1]


def test_a_run_without_a_task_predicts_nothing_and_says_so(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "none")
    run = run_local(path, {"name": "run"})[0].path
    code, output = call("predict", run, path / "site-0", "--out", tmp_path / "out.csv")
    assert code == 1 and "this run has no task, because its data have no labels" in output
    assert output.count("\n") == 1 and not (tmp_path / "out.csv").exists()
    code, output = call("evaluate", run, path / "site-0", "--bootstrap", 0)
    assert code == 0 and "RMSE of imputation" in output and "Task" not in output
    code, output = call("impute", run, path / "site-0", "--out", tmp_path / "completed")
    assert code == 0, output
