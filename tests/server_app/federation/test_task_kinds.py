"""Runs of every kind of task, with sites and windows without labels, and with covariates."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from condi_core import load_model
from condi_core.task.kind import TASK_KINDS
from condi_core.weights_file import WeightsFileError
from data_partitions.federation import open_federation
from server_app.errors import RunError
from tests.helpers.task_federation import LABELS, SIZES, write_task_federation

QUICK = {"method": "mask", "task.rounds": 2}
TRAINED_KINDS = [name for name in LABELS if name != "none"]


def result_of(directory):
    return json.loads((directory.path / "result.json").read_text())


def training_windows(grid, action):
    """Return how many windows each site reported for the average, by site, in a phase."""
    reported = {}
    for request, reply in zip(grid.sent, grid.received, strict=True):
        if request.metadata.message_type == f"train.{action}":
            reported[request.metadata.group_id] = reply.content["metrics"]["windows"]
    return reported


def weights_of(directory, name="task-mask"):
    return load_file(directory.path / f"{name}.safetensors")


def test_a_federation_without_labels_trains_phase_1_alone_and_has_a_report(tmp_path, run_local, capsys):
    path = write_task_federation(tmp_path / "f", "none")
    directory, grid = run_local(path, {"compare-with": "mask,estimate"})
    assert "note: the data have no labels, and mask would train nothing" in capsys.readouterr().out
    result = result_of(directory)
    assert result["task"] == {} and result["imputation"]["points 50 %"]["condi"]["rmse"] > 0
    assert not any(m.metadata.message_type in ("train.task", "query.complete") for m in grid.sent)
    assert training_windows(grid, "imputer") == dict.fromkeys(("site-0", "site-1", "site-2"), 8.0)
    report = (directory.path / "report.html").read_text()
    assert "Task: none" in report and "<h2>Classification" not in report
    assert "- Task: none" in (directory.path / "model-card.md").read_text()
    model = load_model(directory.path)
    window = np.zeros((1, *model.schema.shape), np.float32)
    assert np.isfinite(model.impute(window).point).all()
    with pytest.raises(WeightsFileError, match="this run has no task, because its data have no labels"):
        model.predict(window)


def test_a_method_that_only_trains_a_task_is_refused_without_labels(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "none")
    with pytest.raises(RunError, match="the data have no labels, and method 'mask' trains nothing else"):
        run_local(path, QUICK)
    assert not (tmp_path / "runs").exists(), "nothing was started"


@pytest.mark.parametrize("task", TRAINED_KINDS)
def test_every_kind_of_task_is_trained_and_scored_as_the_pool_of_its_sites(tmp_path, run_local, task):
    path = write_task_federation(tmp_path / "f", task)
    directory, _ = run_local(path, QUICK)
    kind = TASK_KINDS[task]
    federation, model = open_federation(path), load_model(directory.path)
    parts = [federation.open_site(name) for name in federation.sites]
    result = result_of(directory)["task"]["mask"]
    sums = load_file(directory.path / "test-task-mask.safetensors")
    total = {}
    for key, array in sums.items():
        name = key.split("/", 1)[1]
        total[name] = total.get(name, 0) + array
    assert kind.num_windows(total) == len(parts) * SIZES["test"]
    expected = kind.metrics(total)
    assert {name: result[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    windows = np.concatenate([np.where(o, v, np.nan) for v, o in (p.read(p.rows("test")) for p in parts)])
    prediction = model.predict(windows, method="mask").values
    assert prediction.shape == (len(windows), len(kind.prediction_columns(LABELS[task])))
    labels = torch.from_numpy(np.concatenate([p.labels[p.rows("test")] for p in parts]))
    # The run hides samples of test windows, so that these are near the predictions of the run and not equal.
    assert set(kind.metrics(kind.sums(torch.from_numpy(prediction), labels))) == set(expected)
    page = (directory.path / "report.html").read_text()
    assert (
        f"{kind.title} of test windows" in page
        and f"## {kind.title}" in (directory.path / "model-card.md").read_text()
    )


def test_labels_of_a_regression_are_standardised_by_the_training_windows_of_all_sites(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "regression", unlabelled_windows=3)
    directory, _ = run_local(path, QUICK)
    federation = open_federation(path)
    parts = [federation.open_site(name) for name in federation.sites]
    labels = np.concatenate([p.labels[p.rows("train")] for p in parts]).ravel()
    labels = labels[~np.isnan(labels)].astype(float)
    assert len(labels) == 3 * 8 - 3
    weights = weights_of(directory)
    assert weights["label_standardiser.mean"] == pytest.approx(labels.mean(), rel=1e-6)
    assert weights["label_standardiser.std"] == pytest.approx(labels.std(), rel=1e-5)


def test_a_site_without_labels_is_in_phase_1_alone(tmp_path, run_local, capsys):
    path = write_task_federation(tmp_path / "f", "single-label", unlabelled_sites=(2,))
    directory, grid = run_local(path, {"task.rounds": 2})
    out = capsys.readouterr().out
    assert "note: site site-2 has no labels for training: it takes part in phase 1 alone" in out
    assert training_windows(grid, "imputer") == dict.fromkeys(("site-0", "site-1", "site-2"), 8.0)
    assert training_windows(grid, "task") == dict.fromkeys(("site-0", "site-1"), 8.0)
    asked = {m.metadata.group_id for m in grid.sent if m.metadata.message_type == "query.complete"}
    assert asked == {"site-0", "site-1"}
    answered = result_of(directory)["answered"]
    assert answered["imputer"]["sites"] == ["site-0", "site-1", "site-2"]
    assert answered["task-condi"]["sites"] == ["site-0", "site-1"]


def test_phase_2_without_a_site_is_phase_2_of_the_others(tmp_path, run_local):
    """The site without labels changes the standardisation of windows, and nothing else of phase 2."""
    with_site = write_task_federation(tmp_path / "three", "multi-label", unlabelled_sites=(2,))
    settings = QUICK | {"missingness.points": 0.0, "missingness.gaps": 0.0}
    first, _ = run_local(with_site, settings | {"name": "first"})
    labelled = write_task_federation(tmp_path / "two", "multi-label", sites=2)
    second, _ = run_local(labelled, settings | {"name": "second"})
    a, b = weights_of(first), weights_of(second)
    assert (a["standardiser.mean"] != b["standardiser.mean"]).any()
    tests = [load_file(d.path / "test-task-mask.safetensors") for d in (first, second)]
    assert tests[0].keys() == tests[1].keys() == {"site-0/task", "site-1/task"}


def test_windows_without_labels_have_no_weight_in_phase_2(tmp_path, run_local, capsys):
    path = write_task_federation(tmp_path / "f", "multi-label", unlabelled_windows=3)
    directory, grid = run_local(path, {"task.rounds": 2})
    out = capsys.readouterr().out
    assert "note: site site-1 has labels for 5 of 8 training windows: phase 2 uses these alone" in out
    assert training_windows(grid, "imputer") == dict.fromkeys(("site-0", "site-1", "site-2"), 8.0)
    assert training_windows(grid, "task") == {"site-0": 8.0, "site-1": 5.0, "site-2": 8.0}
    history = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    assert {line["windows"] for line in history if line["phase"] == "task-condi"} == {21.0}
    assert {line["windows"] for line in history if line["phase"] == "imputer"} == {24.0}
    roster = json.loads((directory.path / "roster.json").read_text())
    assert roster["site-1"]["labelled"] == {"train": 5, "val": 4, "test": 6}
    assert roster["site-1"]["labels"]["train"] == [3, 2], "of windows with labels alone"
    assert "- Labels: 21 of 24 training windows have labels" in (directory.path / "model-card.md").read_text()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_federation_of_which_no_site_has_labels_is_refused(tmp_path, run_local, task):
    path = write_task_federation(tmp_path / "f", task, unlabelled_sites=(0, 1, 2))
    with pytest.raises(RunError, match=f"no site has labels for training, which the {task} task needs"):
        run_local(path, QUICK)


def test_a_window_without_any_label_is_a_negative_one(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "binary")
    directory, _ = run_local(path, QUICK)
    sums = load_file(directory.path / "test-task-mask.safetensors")["site-0/task"]
    assert sums[0, :4].sum() == 6 and sums[0, [0, 2]].sum() == 3, "three of six are negative"
    assert result_of(directory)["task"]["mask"].keys() == {"score", "auroc", "auprc", "f1", "accuracy"}
