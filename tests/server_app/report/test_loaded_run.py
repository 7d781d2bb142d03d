"""`load_run` has the numbers of the files, the figures of the report, and the windows of the evaluation."""

import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from safetensors.numpy import load_file

from condi_core import load_run
from condi_core.run_files import RunFileError, read_history
from data_partitions.federation import open_federation
from tests.helpers.finished_runs import HOSTILE, Page


@pytest.fixture(scope="module")
def run(made):
    return load_run(made[1])


def test_its_tables_have_the_numbers_of_the_files(made, run):
    lines = read_history(made[1])
    assert run.history["loss"].tolist() == [line["loss"] for line in lines]
    assert run.history["phase"].tolist() == [line["phase"] for line in lines]
    scored = run.history["phase"] == "imputer"
    expected = [line["metrics"]["rmse"] for line in lines if line["phase"] == "imputer"]
    assert run.history.loc[scored, "metrics.rmse"].tolist() == expected
    result = json.loads((made[1] / "result.json").read_text())
    assert run.task.loc["condi", "auroc"] == result["task"]["condi"]["auroc"]
    metrics = result["imputation"]["gaps 50 %"]["condi"]
    assert run.imputation.loc[("gaps 50 %", "condi"), "rmse"] == metrics["rmse"]
    assert list(run.sites.index) == sorted(HOSTILE) and (run.sites["train"] == 8).all()


def test_it_says_what_it_is(run):
    start = f"<LoadedRun whole: condi, 3 sites, {len(run.history)} rounds, finished, AUROC of condi "
    assert repr(run).startswith(start)
    assert run.models.method == "condi" and run.models is run.models


def test_test_windows_hide_what_the_evaluation_hides(made, run):
    site = open_federation(made[0]).open_site("south")
    windows = run.test_windows(site, "points 50 %", count=100)
    counts = load_file(made[1] / "test-imputer.safetensors")["south/points 50 %/mean"][:, 0]
    assert sum(window.target.sum((1, 2)) for window in windows).tolist() == counts.tolist()
    window = windows[0]
    shown = window.conditioning
    np.testing.assert_array_equal(window.quantiles[0][shown], window.values[shown])
    assert repr(window).startswith(f"<CompletedWindow {window.record} of south: {window.target.sum()} of ")
    assert (
        f"{(window.target | shown).sum()} samples hidden, RMSE {window.rmse:.3f} standard deviations>"
        in repr(window)
    )
    assert len(run.test_windows(site, count=2)) == 2


def test_its_pictures_are_the_figures_of_the_report(made, run):
    assert set(run.pictures) == set(Page((made[1] / "report.html").read_text()).figures)
    for title, picture in run.pictures.items():
        assert ElementTree.fromstring(picture.svg).tag == "{http://www.w3.org/2000/svg}svg", title
        assert "data:image/svg+xml;base64," in picture._repr_html_()


def test_what_is_not_there_is_said(made, run, tmp_path):
    with pytest.raises(RunFileError, match="is not a run directory"):
        load_run(tmp_path / "missing")
    site = open_federation(made[0]).open_site("south")
    with pytest.raises(ValueError, match="expected missingness to be one of 'points 50 %'"):
        run.test_windows(site, "holes")
    unfinished = shutil.copytree(made[1], tmp_path / "unfinished")
    for name in ("result.json", "report.html", "history.jsonl"):
        (unfinished / name).unlink()
    other = load_run(unfinished)
    assert other.history.empty and other.task.empty and other.imputation.empty and other.pictures == {}
    assert repr(other) == "<LoadedRun unfinished: condi, 3 sites, 0 rounds, not finished>"
    (unfinished / "roster.json").write_text("{}")
    with pytest.raises(ValueError, match="got south"):
        load_run(unfinished).test_windows(site)
