"""Thresholds of the report: chosen on validation windows, and applied to test windows."""

import math

import pytest
from safetensors.numpy import load_file

from condi_core.evaluation.classification import score_histograms
from condi_core.evaluation.operating_points import operating_point, sensitive_threshold, youden_threshold
from condi_core.task.kind import SINGLE_LABEL
from server_app.artifacts.run_record import read_run
from server_app.report.operating_points import explain_thresholds, label_decisions
from tests.helpers.finished_runs import HOSTILE, Page


def test_thresholds_are_those_of_validation_windows(made):
    run, page = read_run(made[1]), Page((made[1] / "report.html").read_text())
    caption = "Operating points on test windows"
    for method in ("mask", "condi"):
        ((name, sums),) = run.validation_sums[f"task-{method}"].items()
        line = run.phases[f"task-{method}"][run.best_round(f"task-{method}") - 1]
        assert name == "all" and SINGLE_LABEL.metrics(sums)["auroc"] == line.metrics["auroc"]
        pair = score_histograms(sums["task"])[1]
        thresholds = [decision.point.threshold for decision in label_decisions(run, method)]
        assert thresholds == [youden_threshold(*pair), sensitive_threshold(*pair)]
    on_page = [float(row[2][0]) for row in page.tables[caption][1:]]  # of mask, which comes last
    assert on_page == [one.point.threshold for one in label_decisions(run, "mask")]
    test = sum(load_file(made[1] / "test-task-mask.safetensors")[f"{site}/task"] for site in HOSTILE)
    for row, threshold in zip(page.values(caption), on_page, strict=True):
        point = operating_point(*score_histograms(test)[1], threshold)
        shares = [point.sensitivity, point.specificity, point.ppv, point.npv]
        expected = [None if math.isnan(share) else share for share in shares]
        assert row[4:] == pytest.approx([point.flagged, *expected])


def test_without_validation_scores_no_threshold_is_chosen(run):
    for file in run.glob("val-*"):
        file.unlink()
    record = read_run(run)
    assert [one.point.threshold for one in label_decisions(record, "mask")] == [0.5]
    assert "only the threshold of 0.5 is shown" in explain_thresholds(record, "mask")
