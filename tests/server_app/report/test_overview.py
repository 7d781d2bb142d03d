"""The first screen of the report: verdict, key numbers and facts, and the order of what follows."""

import json
import re

import numpy as np
import pytest

from condi_core.evaluation.catalogue import TASK_METRICS
from server_app.artifacts.estimates import Estimate, combine
from server_app.artifacts.run_record import read_run
from server_app.report.findings import Findings
from server_app.report.gains import Gain
from server_app.report.imputation import expect_coverage
from server_app.report.markup import duration_text, estimate_text
from server_app.report.overview import facts, overview, verdict
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


def test_of_an_exact_interpolation_there_is_no_share(made):
    findings = Findings(read_run(made[1]))
    rows = {"condi": {"rmse": Estimate(0.1)}, "linear": {"rmse": Estimate(0.0)}}
    findings.imputation = {"all patterns": rows}
    assert findings.improvement is None and "linear interpolation" not in overview(findings)


def test_facts_count_patients_and_say_when_and_how_long(made):
    of_run = facts(read_run(made[1]))
    assert of_run["Sites"] == "3" and of_run["Patients"] == "24 training, 15 test"
    assert of_run["Status"] == "completed" and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \S+", of_run["Date"])
    assert re.fullmatch(r"(\d+ h )?(\d+ min)?( ?\d+ s)?", of_run["Duration"])


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
    first, second = Estimate(0.9, np.linspace(0.8, 1.0, 401)), Estimate(0.7, np.linspace(0.65, 0.75, 401))
    gain = combine(lambda a, b: a - b, first, second)
    assert gain.value == pytest.approx(0.2) and gain.interval == pytest.approx((0.1525, 0.2475))
    assert combine(lambda a, b: a - b, first, Estimate(0.7)).interval is None


def test_an_interval_without_width_is_not_shown():
    same = Estimate(0.5, np.linspace(0.4, 0.6))
    assert estimate_text(TASK_METRICS["f1"], combine(lambda a, b: a - b, same, same), signed=True) == "0.000"
    assert estimate_text(TASK_METRICS["kappa"], Estimate(0.0, np.linspace(-1e-8, 1e-8))) == "0.000"


def test_zero_as_printed_has_no_sign():
    estimate = Estimate(-0.0001, np.linspace(-0.0004, 0.01, 401))
    assert estimate_text(TASK_METRICS["auroc"], estimate, signed=True) == "0.000 (0.000 to +0.010)"
    assert estimate_text(TASK_METRICS["auroc"], Estimate(-0.2)) == "−0.200"


def test_durations_have_two_units():
    assert [duration_text(s) for s in (56.4, 290, 3 * 3600 + 299)] == ["56 s", "4 min 50 s", "3 h 4 min"]


def test_the_verdict_counts_sites_whose_gain_is_beyond_chance(made):
    findings = Findings(read_run(made[1]))

    def gain(low, high):
        together = Estimate(0.5 + (low + high) / 2, 0.5 + np.linspace(low, high))
        return Gain(findings.primary, together, Estimate(0.5, np.full(50, 0.5)))

    findings.ranked_gains = {"north": gain(0.1, 0.2), "south": gain(-0.1, 0.2)}
    text = verdict(findings)
    assert "with training alone, AUROC is better at 2 of 2 sites (interval above zero at 1)." in text
    findings.ranked_gains = {"north": gain(-0.2, 0.1), "south": gain(-0.1, 0.2)}
    text = "at 1 of 2 sites (interval above zero at none) and worse at 1 (interval below zero at none)."
    assert text in verdict(findings)


def test_few_draws_are_not_expected_to_cover_90_percent(run):
    config = json.loads((run / "config.json").read_text())
    for draws, share in ((4, "60 %"), (2, "33 %")):
        (run / "config.json").write_text(json.dumps(config | {"imputer.samples": draws}))
        record = read_run(run)
        assert f"With {draws} draws" in expect_coverage(record) and share in expect_coverage(record)
        assert expect_coverage(record) in overview(Findings(record))
    (run / "config.json").write_text(json.dumps(config | {"imputer.samples": 20}))
    assert expect_coverage(read_run(run)) == ""
