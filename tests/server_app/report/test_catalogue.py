"""A metric that is added to the catalogue is in every result and table."""

import json
from types import SimpleNamespace

import pytest

from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import TASK_METRICS, TaskMetric, metrics_of_task
from condi_core.task.kind import MULTI_LABEL, SINGLE_LABEL
from server_app.artifacts import scores
from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_record import read_run
from server_app.artifacts.stored_sums import sum_over_sites
from server_app.report.classification import classification
from server_app.report.compared_runs import score_run
from server_app.report.model_card import model_card
from server_app.report.rounds import training
from server_app.report.sites import by_site
from server_app.report.summary import summary_table
from server_app.study.design import read_study
from server_app.study.tables import scored_metric, task_table

RECALL = TaskMetric(
    name="recall",
    label="recall of all labels",
    short_label="rec.",
    higher_is_better=True,
    compute={SINGLE_LABEL.name: lambda sums: sums["task"][:, 0].sum() / sums["task"][:, [0, 2]].sum()},
)


@pytest.fixture
def recall(monkeypatch):
    monkeypatch.setitem(TASK_METRICS, RECALL.name, RECALL)


@pytest.fixture
def record(made, recall):
    """A run, scored with the new metric as well."""
    record = read_run(made[1])
    for method in record.scored_methods:
        sums = sum_over_sites(record.sums[f"task-{method}"])
        extra = {"loss-sum": 1.0, "windows": 1.0}
        record.result.task[method] = scores.task_evaluation(record.schema).read(sums, extra)
    for line in record.history:
        if line.phase.startswith("task-"):
            line.metrics["recall"] = 0.5
    return record


def test_only_kinds_of_task_that_have_a_metric_compute_it(recall):
    assert RECALL in metrics_of_task(SINGLE_LABEL.name)
    assert RECALL not in metrics_of_task(MULTI_LABEL.name)


def test_a_metric_of_the_catalogue_is_in_every_table(record, made):
    value = record.task["condi"]["recall"]
    assert 0 <= value <= 1
    config = RunConfig.from_flat(json.loads((made[1] / "config.json").read_text()))
    result = {"imputation": {}, "task": record.task, "answered": {}}
    assert "rec." in summary_table(result, record.schema, config, made[1])
    for section in (classification, by_site, training):
        assert RECALL.label in "".join(section(record)), section
    assert RECALL.label in model_card(record)
    assert score_run(record).scores[f"{RECALL.label}, condi"].score.value == value
    metrics = record.task["condi"]
    cell = SimpleNamespace(
        method="condi", metrics=metrics, seed=0, score=lambda name: Estimate(metrics[name])
    )
    assert RECALL.label in task_table([cell], "scenario").columns
    assert task_table([SimpleNamespace(method="condi", metrics={})], "scenario") is None
    assert scored_metric([cell], "recall") == "recall" and scored_metric([cell], "mae") == "auroc"


def test_a_study_can_be_about_a_metric_of_the_catalogue(recall):
    study = {"methods": ["condi"], "seeds": [0], "metric": "recall", "data": {"demo": {"dataset": "demo"}}}
    assert read_study(study).metric == "recall"
