"""The first screen of the report: verdict, key numbers and facts, and the order of what follows."""

import json
import re

import numpy as np
import pytest

from server_app.artifacts.estimates import Estimate, combine
from server_app.artifacts.run_record import read_run
from server_app.report.findings import Findings
from server_app.report.overview import facts, verdict
from server_app.report.page import write_report


def test_the_verdict_states_error_and_score_of_the_run(made):
    result = json.loads((made[1] / "result.json").read_text())
    text = verdict(Findings(read_run(made[1])))
    share = re.search(r"Imputation error is (\d+) % (lower|higher) than that of linear interpolation; ", text)
    improvement = Findings(read_run(made[1])).improvement
    assert float(share[1]) == round(100 * abs(improvement.share.value))
    assert share[2] == ("lower" if improvement.error.value < improvement.naive_error.value else "higher")
    assert f"the classifier reaches AUROC {result['task']['condi']['auroc']:.3f}" in text


def test_the_error_of_all_patterns_pools_their_hidden_samples(made):
    record = read_run(made[1])
    rows = Findings(record).imputation
    squares = sum(
        (record.schema.patch_weights[:, None] * sums[key]).sum(0)[[0, 2]]
        for sums in record.sums["imputer"].values()
        for key in sums
        if key.endswith("/condi")
    )
    assert rows["all patterns"]["condi"]["rmse"].value == pytest.approx((squares[1] / squares[0]) ** 0.5)
    for pattern, imputers in record.imputation.items():
        assert rows[pattern]["condi"]["rmse"].value == pytest.approx(imputers["condi"]["rmse"])


def test_facts_count_patients_and_say_when_and_how_long(made):
    of_run = facts(read_run(made[1]))
    assert of_run["Sites"] == "3" and of_run["Patients"] == "24 training, 15 test"
    assert of_run["Status"] == "completed" and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \S+", of_run["Date"])
    assert re.fullmatch(r"\d+:\d\d:\d\d", of_run["Duration"])


def test_sites_that_withhold_their_number_of_patients_are_counted(run):
    roster = json.loads((run / "roster.json").read_text())
    roster["south"]["patients"] = {"train": 8, "val": None, "test": None}
    (run / "roster.json").write_text(json.dumps(roster))
    assert facts(read_run(run))["Patients"] == "24 training, 10 test (of 2 sites)"
    for site in roster.values():  # as older versions wrote it
        del site["patients"]
    (run / "roster.json").write_text(json.dumps(roster))
    assert "Patients" not in facts(read_run(run))


def test_a_stopped_run_says_why(run):
    (run / "result.json").unlink()
    progress = json.loads((run / "progress.json").read_text())
    (run / "progress.json").write_text(json.dumps(progress | {"status": "failed", "reason": "no space"}))
    assert facts(read_run(run))["Status"] == "failed: no space"
    (run / "progress.json").write_text('{"started": "yesterday"}')
    assert "Date" not in facts(read_run(run))


def test_results_come_before_what_produced_them(run):
    text = write_report(run, limit=0.0).read_text()
    titles = re.findall(r"<h2>([^<]*)</h2>", text)
    assert titles == [
        "What each site gained",
        "Imputation",
        "Completed windows",
        "Classification",
        "Limits of use",
        "Participating sites",
        "Results of each site",
        "Training",
        "Cost",
        "Configuration",
    ]
    folded = re.findall(r'<details class="folded"><summary><h2>([^<]*)', text)
    assert folded == ["Results of each site", "Training", "Cost", "Configuration"]
    assert text.index('class="numbers"') < text.index("<h2>")


def test_combined_estimates_keep_their_replicates_in_pairs():
    first, second = Estimate(0.9, np.linspace(0.8, 1.0)), Estimate(0.7, np.linspace(0.6, 0.8))
    gain = combine(lambda a, b: a - b, first, second)
    assert gain.value == pytest.approx(0.2) and gain.interval == pytest.approx((0.2, 0.2))
    assert combine(lambda a, b: a - b, first, Estimate(0.7)).interval is None
