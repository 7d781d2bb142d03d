"""The section of gains: the scores of each site after training together, less those after training alone."""

import shutil

import pytest
from safetensors.numpy import load_file

from condi_core.task.kind import SINGLE_LABEL
from server_app.artifacts.run_record import read_run
from server_app.report import small_groups
from server_app.report.findings import Findings
from server_app.report.page import write_report
from tests.helpers.finished_runs import HOSTILE, Page

CAPTION = "AUROC, gain over training alone"


@pytest.fixture
def compared(run):
    """A run that has trained local models as well, with the scores of another method."""
    shutil.copy(run / "test-task-mask.safetensors", run / "test-task-local.safetensors")
    return run


def test_a_run_without_local_training_says_how_to_add_it(run):
    text = write_report(run, limit=0.0).read_text()
    assert "did not train the method local: add it with condi run -c" in text and CAPTION not in text


def test_gains_are_differences_of_site_scores(compared, monkeypatch):
    monkeypatch.setattr(small_groups, "MIN_PATIENTS", 5)
    page = Page(write_report(compared, limit=0.0).read_text())
    sums = {m: load_file(compared / f"test-task-{m}.safetensors") for m in ("condi", "local")}
    for site, gain in zip(sorted(HOSTILE), page.column(CAPTION, "gain"), strict=True):
        federated, local = (
            SINGLE_LABEL.metrics({"task": sums[m][f"{site}/task"]})["auroc"] for m in ("condi", "local")
        )
        assert gain == pytest.approx(federated - local)
    assert page.column(CAPTION, "test patients") == [5, 5, 5]
    assert page.figures["Gain in AUROC over training alone"] >= 3


def test_a_smaller_error_is_a_positive_gain(compared):
    errors = Findings(read_run(compared)).gains
    for gains in errors.values():
        for gain in gains:
            expected = gain.together.value - gain.alone.value
            sign = 1 if gain.metric.higher_is_better else -1
            assert gain.difference.value == pytest.approx(sign * expected, nan_ok=True)


def test_sites_with_few_patients_are_marked_and_not_ranked(compared):
    findings = Findings(read_run(compared))
    assert len(findings.gains) == 3 and not findings.ranked_gains
    page = Page(write_report(compared, limit=0.0).read_text())
    assert all(row[0][0].endswith("†") for row in page.tables[CAPTION][1:])
    assert "Gain in AUROC over training alone" not in page.figures
    assert "with training alone, " not in page.text
