"""Metrics of imputation as sums, compared with numpy."""

import math

import numpy as np
import pytest
import torch

from condi_core.evaluation.catalogue import (
    ERROR_SUMS,
    imputation_metrics,
)
from condi_core.evaluation.imputation import LEVELS, imputation_sums
from condi_core.imputer.imputer import median_over_draws
from condi_core.quantiles import quantiles_of_draws
from tests.helpers.toy import corrupt

SHAPE = (6, 4, 12, 5)


@pytest.fixture
def scored():
    """Truth, point, hidden cells and nine draws."""
    return torch.randn(SHAPE), torch.randn(SHAPE), torch.rand(SHAPE) < 0.3, torch.randn(9, *SHAPE)


def test_imputation_sums_are_those_of_numpy_on_hidden_cells(scored):
    truth, point, hidden, draws = scored
    sums = imputation_sums(truth, point, hidden, draws)
    assert sums.shape == (4, len(ERROR_SUMS))
    levels = LEVELS.numpy().astype(float)
    np.testing.assert_allclose(levels, np.arange(1, 20) * 0.05, atol=1e-6)
    for m in range(4):
        cells = hidden[:, m].numpy()
        y, p = truth[:, m].numpy()[cells].astype(float), point[:, m].numpy()[cells].astype(float)
        q = np.quantile(draws[:, :, m].numpy()[:, cells].astype(float), levels, axis=0, method="weibull")
        pinball = np.where(y >= q, levels[:, None] * (y - q), (1 - levels[:, None]) * (q - y))
        expected = [
            cells.sum(),
            np.abs(p - y).sum(),
            ((p - y) ** 2).sum(),
            2 * pinball.mean(0).sum(),
            ((q[0] <= y) & (y <= q[-1])).sum(),
        ]
        np.testing.assert_allclose(sums[m], expected, rtol=1e-4)


def test_samples_that_are_not_hidden_do_not_count(scored):
    truth, point, hidden, draws = scored
    sums = imputation_sums(truth, point, hidden, draws)
    for bad in corrupt(truth, ~hidden):
        np.testing.assert_array_equal(imputation_sums(bad, point, hidden, draws), sums)
    for bad in corrupt(point, ~hidden):
        np.testing.assert_array_equal(imputation_sums(truth, bad, hidden, draws), sums)


def test_imputation_sums_of_two_sites_add_to_those_of_their_pool(scored):
    truth, point, hidden, draws = scored
    parts = [imputation_sums(truth[s], point[s], hidden[s], draws[:, s]) for s in (slice(0, 2), slice(2, 6))]
    np.testing.assert_allclose(sum(parts), imputation_sums(truth, point, hidden, draws), rtol=1e-12)


def test_a_point_is_scored_by_its_absolute_error(scored):
    truth, point, hidden, _ = scored
    for draws in (None, torch.zeros(0, *SHAPE)):
        sums = imputation_sums(truth, point, hidden, draws)
        np.testing.assert_array_equal(sums[:, 3], sums[:, 1])
        assert (sums[:, 4] == 0).all()
    # Equal draws count as a point too.
    sums = imputation_sums(truth, point, hidden, point.expand(7, *SHAPE))
    np.testing.assert_allclose(sums[:, 3], sums[:, 1], rtol=1e-5)


def test_perfect_draws_have_no_loss_and_cover_everything(scored):
    truth, _, hidden, _ = scored
    metrics = imputation_metrics(imputation_sums(truth, truth, hidden, truth.expand(5, *SHAPE)).sum(0))
    assert metrics == {"mae": 0, "rmse": 0, "crps": pytest.approx(0, abs=1e-7), "coverage": 1}


def test_draws_from_the_truth_are_calibrated():
    shape = (1, 1, 100, 100)
    truth, hidden = torch.randn(shape), torch.ones(shape, dtype=torch.bool)
    for draws in (19, 50, 400):
        sums = imputation_sums(truth, torch.zeros(shape), hidden, torch.randn(draws, *shape))
        metrics = imputation_metrics(sums[0])
        assert metrics["coverage"] == pytest.approx(0.9, abs=0.015)
    assert metrics["rmse"] == pytest.approx(1, abs=0.03)
    assert metrics["mae"] == pytest.approx(math.sqrt(2 / math.pi), abs=0.03)
    # The quantile loss of a normal forecast of a normal truth is the density at the quantile. The mean over
    # nineteen levels without the outer tails is about 5 % above the exact score, 1/√π.
    quantiles = torch.special.ndtri(LEVELS)
    expected = 2 * (torch.exp(-(quantiles**2) / 2) / math.sqrt(2 * math.pi)).mean().item()
    assert metrics["crps"] == pytest.approx(expected, rel=0.02)
    assert expected == pytest.approx(1 / math.sqrt(math.pi), rel=0.06)


def test_coverage_by_hand():
    draws = torch.linspace(0, 1, 101).view(-1, 1, 1, 1, 1).expand(-1, 1, 1, 1, 4)
    truth = torch.tensor([0.04, 0.06, 0.94, 0.96]).view(1, 1, 1, 4)
    hidden = torch.ones_like(truth, dtype=torch.bool)
    assert imputation_sums(truth, truth, hidden, draws)[0, 4] == 2


def test_imputation_metrics_by_hand():
    metrics = imputation_metrics(np.array([4, 2.0, 9.0, 1.0, 3]))
    assert metrics == {"mae": 0.5, "rmse": 1.5, "crps": 0.25, "coverage": 0.75}


def test_imputation_metrics_of_weighted_sums_do_not_depend_on_the_weight():
    sums = np.array([50.0, 50, 60, 40, 45])
    assert imputation_metrics(sums / 100) == pytest.approx(imputation_metrics(sums))


def test_imputation_metrics_of_nothing_are_not_numbers(scored):
    truth, point, hidden, _ = scored
    empty = imputation_sums(truth, point, torch.zeros_like(hidden))
    assert (empty == 0).all()
    assert all(math.isnan(v) for v in imputation_metrics(empty[0]).values())


@pytest.mark.parametrize("number", [1, 2, 19, 20])
def test_quantiles_of_draws_are_those_of_torch_to_the_bit(number):
    draws = torch.randn(number, 3, 7, generator=torch.Generator().manual_seed(number))
    positions = torch.linspace(0, 1, 21)
    assert torch.equal(quantiles_of_draws(draws, positions), torch.quantile(draws, positions, dim=0))
    assert torch.equal(median_over_draws(draws), draws.quantile(0.5, dim=0))
