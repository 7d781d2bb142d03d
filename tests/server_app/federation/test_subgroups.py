"""Covariates in runs: as inputs of the classifier, and for the results of subgroups."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from condi_core import load_model
from data_partitions.federation import open_federation
from server_app.artifacts.run_record import read_run
from server_app.errors import RunError
from server_app.report.subgroups import subgroup_scores
from tests.helpers.finished_runs import Page
from tests.helpers.task_federation import COVARIATES, write_task_federation

QUICK = {"method": "mask", "task.rounds": 2}
SITES = ("site-0", "site-1", "site-2")


def subgroups_of(directory):
    return json.loads((directory.path / "result.json").read_text())["subgroups"]["mask"]


def test_subgroups_are_scored_over_all_sites(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "single-label", covariates=COVARIATES)
    directory, _ = run_local(path, QUICK)
    results, federation = subgroups_of(directory), open_federation(path)
    parts = [federation.open_site(name) for name in SITES]
    age, sex = np.concatenate([p.covariates[p.rows("test")] for p in parts]).T
    counts = {
        "age": {
            "under 40 years": (age < 40).sum(),
            "40 to 65 years": ((age >= 40) & (age < 65)).sum(),
            "65 years and over": (age >= 65).sum(),
            "not recorded": np.isnan(age).sum(),
        },
        "sex": {"f": (sex == 0).sum(), "m": (sex == 1).sum(), "not recorded": 0},
    }
    assert {c: {g: m["windows"] for g, m in gs.items()} for c, gs in results.items()} == counts
    sums = load_file(directory.path / "test-task-mask.safetensors")
    tp, fp, fn, tn = sum(sums[f"{site}/task/1.0"][:, :4] for site in SITES).T
    assert results["sex"]["f"]["accuracy"] == pytest.approx(tp.sum() / (tp + fn).sum())
    total = sum(sums[f"{site}/task"] for site in SITES)
    by_sex = sum(sums[f"{site}/task/1.{group}"] for site in SITES for group in range(3))
    np.testing.assert_array_equal(by_sex, total)


def test_subgroups_are_in_report_and_model_card(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "regression", covariates=COVARIATES)
    directory, _ = run_local(path, QUICK | {"compare-with": "mean"})
    results = subgroups_of(directory)
    page = Page((directory.path / "report.html").read_text())
    assert page.column("Test windows by sex", "windows") == [6.0, 12.0]  # no row where nobody is
    rows = page.column("Test windows by age", "MAE, mask")
    assert rows == pytest.approx([group["mae"] for group in results["age"].values() if group["windows"]])
    card = (directory.path / "model-card.md").read_text()
    assert "- Covariates: age, sex; for subgroups alone" in card
    assert "## Subgroups" in card and "### Test windows by sex" in card and "| 65 years and over † |" in card
    scores = subgroup_scores(read_run(directory.path))
    assert list(scores) == ["mask", "mean"] and json.dumps(scores["mask"]) == json.dumps(results)


def test_small_subgroups_are_withheld_with_the_others_of_their_covariate(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "regression", covariates=COVARIATES)
    # Of six test patients of a site, two are f and four m; their ages have groups of three, two and one.
    results = subgroups_of(run_local(path, QUICK | {"privacy.smallest-count": 2})[0])
    assert sum(group["windows"] for group in results["sex"].values()) == 18
    assert sum(group["windows"] for group in results["age"].values()) == 0
    directory, grid = run_local(path, QUICK | {"privacy.smallest-count": 3, "name": "three"})
    assert all(g["windows"] == 0 for groups in subgroups_of(directory).values() for g in groups.values())
    assert "A site withholds the subgroups" in (directory.path / "report.html").read_text()


def test_without_covariates_there_is_no_section_of_subgroups(finished_run):
    directory, _ = finished_run()
    assert "Subgroups" not in (directory.path / "report.html").read_text()
    assert json.loads((directory.path / "result.json").read_text())["subgroups"] == {"condi": {}}


def test_covariates_change_no_weight_unless_they_are_inputs(tmp_path, run_local):
    plain = write_task_federation(tmp_path / "plain", "binary")
    path = write_task_federation(tmp_path / "f", "binary", covariates=COVARIATES)
    runs = {
        "plain": run_local(plain, QUICK | {"name": "plain"})[0],
        "not read": run_local(path, QUICK | {"name": "not-read"})[0],
        "read": run_local(path, QUICK | {"name": "read", "task.covariates": True})[0],
    }
    weights = {name: load_file(run.path / "task-mask.safetensors") for name, run in runs.items()}
    assert weights["plain"].keys() == weights["not read"].keys()
    assert all(np.array_equal(a, weights["not read"][k]) for k, a in weights["plain"].items())
    new = weights["read"].keys() - weights["plain"].keys()
    assert new and all(key.startswith("covariate_head.") for key in new)
    assert (weights["read"]["covariate_head.output.weight"] != 0).any(), "it was trained"


def test_covariates_are_standardised_by_the_labelled_training_windows_of_all_sites(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "binary", covariates=COVARIATES, unlabelled_windows=2)
    directory, grid = run_local(path, QUICK | {"task.covariates": True})
    federation = open_federation(path)
    rows = [(p, p.rows("train")) for p in map(federation.open_site, SITES)]
    age = np.concatenate([p.covariates[r][np.isfinite(p.labels[r, 0]), 0] for p, r in rows]).astype(float)
    age = age[~np.isnan(age)]
    weights = load_file(directory.path / "task-mask.safetensors")
    assert weights["covariate_head.standardiser.mean"][0] == pytest.approx(age.mean(), rel=1e-6)
    assert weights["covariate_head.standardiser.std"][0] == pytest.approx(age.std(), rel=1e-5)
    assert weights["covariate_head.standardiser.std"][1] == 1, "a category"
    model = load_model(directory.path)
    window = np.zeros((2, *model.schema.shape), np.float32)
    known = model.predict(window, covariates=[[80, 1], [np.nan, np.nan]]).values
    assert known[0] != known[1]
    assert model.predict(window).values[0] == pytest.approx(known[1], rel=1e-5)
    with pytest.raises(ValueError, match=r"expected covariates of shape \(2, 2\), got \(2, 1\)"):
        model.predict(window, covariates=[[80], [70]])


def test_ages_of_few_patients_are_not_added_up(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "regression", covariates=COVARIATES)
    _, grid = run_local(path, QUICK | {"task.covariates": True, "privacy.smallest-count": 8})
    (site, *_) = [json.loads(text) for text in grid.received[0].content["config"]["sites"]]
    assert site["covariate-sums"][0] == [0, 0, 0], "seven of eight patients have an age"
    assert site["covariate-sums"][1][0] == 8


def test_the_setting_is_refused_without_covariates(tmp_path, run_local):
    path = write_task_federation(tmp_path / "f", "binary")
    with pytest.raises(RunError, match="task.covariates needs data with covariates, and these have none"):
        run_local(path, QUICK | {"task.covariates": True})
