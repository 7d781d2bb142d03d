"""`condi evaluate`: on the test windows of a run it reports the numbers of the run."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.site_partition import write_site
from tests.helpers.tiny_federation import write_tiny


@pytest.fixture
def run(tmp_path, run_local):
    """A run of one site, whose folder is `tmp_path / federation / site-0`."""
    federation = write_tiny(tmp_path / "federation", sites=1, test=9)
    changes = {
        "imputer.samples": 19,
        "imputer.steps": 4,
        "missingness.points": 0.4,
        "compare-with": "mask",
        "name": "run",
    }
    directory, _ = run_local(federation, changes, nodes=1)
    return directory.path


def evaluate(run, data, *options):
    arguments = ["evaluate", "--model", str(run), "--data", str(data), *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_test_windows_of_a_run_give_its_numbers(run, tmp_path, monkeypatch):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    code, output = evaluate(run, tmp_path / "federation" / "site-0", "--json", "--bootstrap", "50")
    assert code == 0, output
    assert not list(folder.iterdir())
    evaluation, expected = json.loads(output), json.loads((run / "result.json").read_text())
    assert evaluation["windows"] == evaluation["patients"] == 9
    for kind, methods in expected["imputation"].items():
        for method, metrics in methods.items():
            for metric in ("mae", "rmse", "crps", "coverage"):
                result = evaluation["imputation"][kind][method][metric]
                np.testing.assert_allclose(
                    result["value"], metrics[metric], rtol=1e-4, err_msg=f"{kind} {method}"
                )
                low, high = result["interval"]
                assert low <= result["value"] <= high
    for method in ("condi", "mask"):
        for metric, value in expected["task"][method].items():
            if metric in evaluation["task"][method]:
                np.testing.assert_allclose(evaluation["task"][method][metric]["value"], value, rtol=1e-3)
        reliability = evaluation["task"][method]["reliability"]
        windows = [sum(row[2] for row in bins) for bins in reliability.values()]
        assert set(reliability) == {"slow", "fast"} and windows == [evaluation["labelled"]] * 2


def test_all_windows_are_evaluated_only_at_sites_that_took_no_part(run, tmp_path):
    other = write_tiny(tmp_path / "other", sites=2) / "site-1"
    code, output = evaluate(run, other, "--split", "all", "--bootstrap", "20")
    assert code == 0 and "14 windows of 14 patients" in output and "CondI, median" in output
    for split in ("all", "train"):
        code, output = evaluate(run, tmp_path / "federation" / "site-0", "--split", split)
        assert code == 1 and "took part in this run" in output


def test_simulated_missingness_can_be_omitted(run, tmp_path):
    other = write_tiny(tmp_path / "other", sites=2) / "site-1"
    evaluations = [
        json.loads(evaluate(run, other, "--json", "--bootstrap", "0", *o)[1])
        for o in ((), ("--as-measured",))
    ]
    assert evaluations[0]["imputation"] == evaluations[1]["imputation"]
    first, second = (e["task"]["mask"]["calibration error"] for e in evaluations)
    assert first["interval"] is None and first["value"] != second["value"]


def test_imputation_alone_is_evaluated_on_another_dataset_without_labels(run, tmp_path):
    labelled = write_tiny(tmp_path / "other", sites=2) / "site-1"
    unlabelled = write_site(tmp_path / "site-1", dataset="unlabelled", task="none", labels=())
    options = ("--split", "all", "--bootstrap", "0", "--json")
    results = [json.loads(evaluate(run, data, *options)[1]) for data in (labelled, unlabelled)]
    assert results[1]["labelled"] == 0 and results[1]["task"] == {}
    assert results[1]["imputation"] == results[0]["imputation"]


def test_another_dataset_is_refused(run, tmp_path):
    other = write_tiny(tmp_path / "other", sites=1)
    manifest = other / "site-0" / "manifest.json"
    manifest.write_text(
        manifest.read_text()
        .replace('"patch_seconds": 0.1', '"patch_seconds": 0.2')
        .replace('"rate": 50.0', '"rate": 25.0')
    )
    code, output = evaluate(run, other / "site-0")
    assert code == 1 and "other patch_seconds than the model" in output and output.count("\n") == 1
