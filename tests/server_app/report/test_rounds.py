"""The tables of rounds in a report, for histories with failures and values that are not finite."""

import json
import math

import pytest

from condi_core.run_files import read_history
from server_app.report.page import write_report
from tests.helpers.finished_runs import Page


def test_sites_without_a_valid_reply_are_listed_with_the_reason(run):
    lines = read_history(run)
    lines[1]["failures"] = {"south": "out of <memory>"}
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = Page(write_report(run, limit=0.0).read_text()).tables["Sites without a valid reply"]
    assert [text for text, _ in rows[1]] == ["imputer, round 1", "south", "out of <memory>"]


def test_a_report_accepts_metrics_that_are_nan(run):
    lines = read_history(run)
    for line in lines:
        line["metrics"] = dict.fromkeys(line["metrics"], math.nan)
        line |= {"selection-score": math.nan} if line["metrics"] else {}
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(write_report(run, limit=0.0).read_text())
    assert page.column("imputer, every round", "RMSE") == [None, None]
    assert "nan" not in "".join(page.figures) and "NaN" not in page.text


def test_a_withheld_training_loss_is_a_gap_and_is_said(run):
    drawn = Page(write_report(run, limit=0.0).read_text())
    lines = [line | {"loss": None} for line in read_history(run)]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(write_report(run, limit=0.0).read_text())
    sentence = "The training loss is withheld"
    assert sentence in page.text and sentence not in drawn.text
    assert "imputer: training loss" in drawn.figures and "imputer: training loss" not in page.figures
    assert "training loss" not in [text for text, _ in page.tables["imputer, every round"][0]]


@pytest.mark.parametrize("name", ["noise-multiplier", "patient-epsilon"])
def test_with_privacy_the_last_round_is_selected_and_said(run, name):
    by_score = "by the smallest selection score: the median over sites of the validation loss"
    assert by_score in Page(write_report(run, limit=0.0).read_text()).text
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {f"privacy.{name}": 1.0}))
    page = Page(write_report(run, limit=0.0).read_text())
    assert "weights were selected, the last one, as the choice by scores would reveal" in page.text
    assert by_score not in page.text
    assert [row[0][0] for row in page.tables["imputer, every round"][1:]] == ["1", "2 *"]


def test_the_selected_round_has_the_lowest_score(run):
    lines = read_history(run)
    for line, score in zip([x for x in lines if x["phase"] == "imputer"], (0.2, 0.7), strict=True):
        line["selection-score"] = score
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = Page(write_report(run, limit=0.0).read_text()).tables["imputer, every round"][1:]
    assert [row[0][0] for row in rows] == ["1 *", "2"]
