"""Regression: predictions with an interval, their loss, and metrics from sums, against numpy."""

import math

import numpy as np
import pytest
import torch

from condi_core.evaluation.regression import REGRESSION_SUMS, regression_sums
from condi_core.task.batch import TaskBatch
from condi_core.task.kind import REGRESSION
from condi_core.task.model import TaskModel
from condi_core.training import train_steps
from tests.helpers.toy import schema, standardise, task_config, windows


def predicted(count: int, labels: int = 2, seed: int = 0):
    """Draw predictions (count, labels * 3) with intervals of plus and minus 1, and labels."""
    rng = np.random.default_rng(seed)
    y = rng.normal(-2, 3, (count, labels))
    mean = y + rng.normal(0, 0.8, y.shape)
    return np.stack([mean, mean - 1, mean + 1], 2).reshape(count, -1), y


def test_metrics_are_those_of_numpy():
    p, y = predicted(200)
    metrics = REGRESSION.metrics(REGRESSION.sums(torch.tensor(p), torch.tensor(y)))
    error = p.reshape(200, 2, 3)[..., 0] - y
    assert list(metrics) == ["mae", "rmse", "r2", "coverage"]
    assert metrics["mae"] == pytest.approx(np.abs(error).mean())
    assert metrics["rmse"] == pytest.approx(np.sqrt((error**2).mean(0)).mean())
    deviations = ((y - y.mean(0)) ** 2).sum(0)
    assert metrics["r2"] == pytest.approx((1 - (error**2).sum(0) / deviations).mean())
    assert metrics["coverage"] == pytest.approx((np.abs(error) <= 1).mean())
    assert REGRESSION.num_windows(REGRESSION.sums(torch.tensor(p), torch.tensor(y))) == 200


def test_sums_of_sites_add_to_those_of_the_pool_and_none_is_negative():
    p, y = predicted(50)
    total = regression_sums(p[:13], y[:13]) + regression_sums(p[13:], y[13:])
    np.testing.assert_allclose(total, regression_sums(p, y), rtol=1e-12)
    assert total.shape == (2, len(REGRESSION_SUMS)) and (total >= 0).all()
    assert {name: array.shape for name, array in REGRESSION.sums(p, y).items()} == REGRESSION.sum_shapes(2)


def test_r2_of_the_mean_is_zero_and_undefined_for_equal_labels():
    y = np.arange(10.0)[:, None]
    mean = np.full((10, 3), y.mean())
    assert REGRESSION.metrics({"errors": regression_sums(mean, y)})["r2"] == pytest.approx(0)
    same = REGRESSION.metrics({"errors": regression_sums(mean, np.full_like(y, 3.0))})
    assert math.isnan(same["r2"]) and same["mae"] == pytest.approx(1.5)


def test_columns_are_the_mean_and_both_ends_of_the_interval():
    assert REGRESSION.prediction_columns(["stay"]) == ["stay", "stay 5 %", "stay 95 %"]
    low, mean, high = REGRESSION.predictions(torch.zeros(1, 3))[0][[1, 0, 2]].tolist()
    assert mean == 0 and low == -high == pytest.approx(-math.log(1 + math.exp(1.4)))


def test_the_loss_is_least_at_the_mean_and_the_quantiles_of_skewed_labels():
    labels = torch.from_numpy(np.random.default_rng(0).exponential(1.0, (4000, 1))).float()
    outputs = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        REGRESSION.loss(outputs.expand(len(labels), 3), labels).backward()
        optimizer.step()
    mean, low, high = REGRESSION.predictions(outputs)[0].tolist()
    assert mean == pytest.approx(labels.mean().item(), abs=0.02)
    assert low == pytest.approx(labels.quantile(0.05).item(), abs=0.05)
    assert high == pytest.approx(labels.quantile(0.95).item(), abs=0.1)


@pytest.fixture
def stays():
    """A schema with one number as its label, windows, and labels of 100 to 700 that follow from them."""
    of = schema(task="regression", labels=1)
    values, observed = windows(of, 48)
    phase = values[:, 0].mean((1, 2), keepdim=True)[:, :, 0]
    return of, values, observed, 400 + 100 * (phase - phase.mean()) / phase.std()


def test_a_model_standardises_labels_and_predicts_in_their_unit(stays):
    of, values, observed, labels = stays
    torch.manual_seed(0)
    model = TaskModel(of, task_config())
    standardise(model, values, observed)
    model.label_standardiser.fit(torch.from_numpy(model.label_standardiser.sums(labels.numpy())))
    batch = (values, observed, observed)
    with torch.no_grad():
        before = model.predictions(model(*batch))
    assert before.shape == (48, 3)
    assert before[:, 0].mean() == pytest.approx(400, abs=100), "near the mean of the labels before training"
    train_steps(
        model, lambda data: model.training_loss(TaskBatch(*data, labels)), [batch] * 80, task_config(), 0.01
    )
    with torch.no_grad():
        after = model.predictions(model(*batch))
    error = (after[:, 0] - labels[:, 0]).abs().mean()
    assert error < 0.6 * (labels - labels.mean()).abs().mean()
    assert (after[:, 1] < after[:, 0]).all() and (after[:, 0] < after[:, 2]).all()
    metrics = REGRESSION.metrics(REGRESSION.sums(after, labels))
    assert metrics["mae"] == pytest.approx(error.item(), rel=1e-5) and metrics["r2"] > 0.5


def test_the_unit_of_labels_does_not_change_what_is_learned(stays):
    of, values, observed, labels = stays
    predictions = []
    for scale in (1.0, 24.0):
        torch.manual_seed(0)
        model = TaskModel(of, task_config())
        standardise(model, values, observed)
        y = labels * scale
        model.label_standardiser.fit(torch.from_numpy(model.label_standardiser.sums(y.numpy())))
        batch = (values, observed, observed)
        train_steps(
            model,
            lambda data, m=model, t=y: m.training_loss(TaskBatch(*data, t)),
            [batch] * 3,
            task_config(),
            0.01,
        )
        with torch.no_grad():
            predictions.append(model.predictions(model(*batch[:3])) / scale)
    torch.testing.assert_close(*predictions, rtol=1e-4, atol=1e-2)


def test_predictions_and_their_intervals_are_within_the_range_of_the_label(stays):
    of, *batch, _ = stays
    torch.manual_seed(0)
    bounded = TaskModel(of.model_copy(update={"label_range": (0.0, None)}), task_config())
    model = TaskModel(of, task_config())
    model.load_state_dict(bounded.state_dict())
    outputs = torch.tensor([[0.0, 0.0, 0.0], [-4.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    expected = model.predictions(outputs)
    assert (expected < 0).sum() == 4
    torch.testing.assert_close(bounded.predictions(outputs), expected.clamp(min=0))
