"""Replicates of test sums in runs: who sends them, what they are, and that nothing else changes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from client_app.node.replicates import draw_deviations
from client_app.node.request import Request
from condi_core.config import RunConfig
from condi_core.evaluation.replicates import NUM_REPLICATES
from condi_core.protocol import sends_replicates
from server_app.artifacts.run_estimates import ALL_PATTERNS, imputation_estimates, task_estimates
from server_app.artifacts.run_record import read_run
from server_app.report.findings import Findings
from server_app.report.overview import interval_note
from tests.helpers.run_settings import flat_defaults


def test_every_estimate_of_a_run_has_an_interval_around_it(made):
    record = read_run(made[1])
    estimates = task_estimates(record, "condi")
    for name, value in record.result.task["condi"].items():
        if name in estimates:
            assert estimates[name].value == value
            low, high = estimates[name].interval or (value, value)  # a perfect score has none
            assert low <= value <= high
    rmse = imputation_estimates(record)[ALL_PATTERNS]["condi"]["rmse"]
    assert rmse.interval[0] < rmse.value < rmse.interval[1]
    share = Findings(record).improvement.share
    assert share.interval[0] < share.value < share.interval[1]


def test_estimates_of_a_site_are_of_its_own_patients(made):
    record = read_run(made[1])

    def rmse(*sites):
        return imputation_estimates(record, sites=sites)[ALL_PATTERNS]["condi"]["rmse"]

    _, *others = record.sites
    two = rmse(*others)
    assert two.replicates.shape == (NUM_REPLICATES,) and two.interval != rmse().interval
    record.replicates["imputer"]["south"] = np.zeros((NUM_REPLICATES, 3))  # as another version may write it
    assert rmse(*others).interval is None and rmse().interval is None


def test_fewer_than_ten_patients_have_no_interval(made):
    record = read_run(made[1])

    def rmse(run, *sites):
        return imputation_estimates(run, sites=sites)[ALL_PATTERNS]["condi"]["rmse"]

    first, *others = record.sites
    assert [site.patients["test"] for site in record.sites.values()] == [5, 5, 5]
    assert rmse(record, first).interval is None and rmse(record, *others).interval
    sites = {name: replace(site, patients={"test": 3}) for name, site in record.sites.items()}
    small = replace(record, sites=sites)
    assert rmse(small).interval is None and Findings(small).task["auroc"].interval is None
    assert "fewer than 10 test patients" in interval_note(small)


@pytest.mark.parametrize(
    "protection",
    [
        {"secure-aggregation": True, "averaging": "mean"},
        {"privacy.noise-multiplier": 1.0},
        {"privacy.patient-epsilon": 3.0},
    ],
)
def test_runs_that_protect_sites_or_patients_have_no_replicates(protection):
    assert sends_replicates(RunConfig.from_flat(flat_defaults()))
    assert not sends_replicates(RunConfig.from_flat(flat_defaults() | protection))


def test_the_report_says_why_there_are_no_intervals(made):
    record = read_run(made[1])
    assert "95 % intervals over the test patients" in interval_note(record)
    older = replace(record, replicates={})
    assert "of a version in which sites sent nothing" in interval_note(older)
    protected = replace(older, config=record.config | {"privacy.noise-multiplier": 1.0})
    assert "differential privacy" in interval_note(protected)
    assert Findings(older).task["auroc"].interval is None


@pytest.fixture
def site(made, finished_run):
    directory, grid = finished_run()
    message = next(m for m in grid.sent if m.metadata.message_type == "evaluate.task")
    return Request(message, grid.contexts[message.metadata.dst_node_id]).site()


def test_numbers_of_patients_are_the_same_in_all_phases_and_follow_from_the_data(site):
    rows = site.partition.rows("test")
    numbers = draw_deviations(site, rows)
    np.testing.assert_array_equal(numbers[1:], draw_deviations(site, rows[1:]))
    assert len(np.unique(numbers[:, 0])) == len(np.unique(site.partition.patient_ids[rows]))
    other = replace(site)
    vars(other)["fingerprint"] = "of other data"
    assert (draw_deviations(other, rows) != numbers).all()


@pytest.mark.slow
def test_replicates_do_not_change_what_a_run_finds(run_local, federation, monkeypatch):
    found = []
    for sends in (True, False):
        for module in ("client_app.app", "server_app.federation.task_phase"):
            monkeypatch.setattr(f"{module}.sends_replicates", lambda config, sends=sends: sends)
        directory, _ = run_local(federation, {"method": "mask", "task.rounds": 1, "name": f"run-{sends}"})
        assert (directory.path / "replicates-task-mask.safetensors").exists() == sends
        found.append(json.loads((directory.path / "result.json").read_text()))
    assert found[0] == found[1]
