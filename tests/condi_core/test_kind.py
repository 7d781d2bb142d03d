"""Kinds of task."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from condi_core.evaluation.catalogue import TASK_METRICS, TaskMetric
from condi_core.task.kind import MULTI_LABEL, SINGLE_LABEL, TASK_KINDS, TaskKind
from condi_core.task.model import TaskModel
from condi_core.training import train_steps
from server_app.artifacts.scores import task_evaluation
from tests.helpers.toy import schema, standardise, task_config, windows


def test_a_schema_has_the_kind_that_its_task_names():
    for name, kind in TASK_KINDS.items():
        assert schema(task=name).task_kind is kind


def test_a_schema_of_an_unknown_task_is_refused():
    with pytest.raises(ValidationError, match="expected one of none, binary, .*, got 'ranking'"):
        schema(task="ranking")


@pytest.mark.parametrize("kind", [MULTI_LABEL, SINGLE_LABEL], ids=lambda kind: kind.name)
def test_labels_are_counted_and_grouped_by_label(kind):
    labels = np.eye(3)[[0, 2, 2, 1]]
    assert kind.label_counts(labels).tolist() == [1, 1, 2]
    assert [group.sum() for group in kind.label_groups(labels)] == [1, 1, 2, 3, 3, 2]


@pytest.fixture
def plain_numbers(monkeypatch):
    """A kind of task that the package does not have: numbers without an interval, scored by the deviation."""

    def error_sums(predictions, labels):
        errors = (predictions - labels).double().abs().numpy()
        return {"errors": np.stack([np.full(errors.shape[1], len(errors)), errors.sum(0)], 1)}

    kind = TaskKind(
        name="numbers",
        loss=functional.mse_loss,
        predictions=lambda outputs: outputs,
        sum_shapes=lambda labels: {"errors": (labels, 2)},
        sums=error_sums,
        num_windows=lambda sums: float(sums["errors"][0, 0]),
        label_counts=lambda labels: np.isfinite(labels).sum(0),
        label_groups=lambda labels: [],
    )
    error = TaskMetric(
        name="deviation",
        label="deviation",
        higher_is_better=False,
        compute={"numbers": lambda sums: float(sums["errors"][:, 1].sum() / sums["errors"][:, 0].sum())},
    )
    monkeypatch.setitem(TASK_KINDS, kind.name, kind)
    monkeypatch.setitem(TASK_METRICS, error.name, error)
    return kind


def test_a_new_kind_needs_only_its_entry_and_its_metrics(plain_numbers):
    of = schema(task="numbers", labels=2)
    values, observed = windows(of, 24)
    labels = torch.stack([values[:, 0].mean((1, 2)), values[:, 1].mean((1, 2))], 1)
    labels = (labels - labels.mean(0)) / labels.std(0)
    model = TaskModel(of, task_config())
    standardise(model, values, observed)
    batch = (values, observed, observed)
    train_steps(model, lambda data: model.loss(model(*data), labels), [batch] * 60, task_config(), 0.01)
    with torch.no_grad():
        predictions = model.predictions(model(*batch))
    sums = plain_numbers.sums(predictions, labels)
    evaluation = task_evaluation(of)
    assert {name: array.shape for name, array in sums.items()} == evaluation.shapes("val", 0)
    numbers = evaluation.read(sums, {"loss-sum": 12.0, "windows": 24.0})
    assert numbers == {"score": 0.5, "deviation": pytest.approx((predictions - labels).abs().mean().item())}
    assert numbers["deviation"] < 0.6 * labels.abs().mean()
