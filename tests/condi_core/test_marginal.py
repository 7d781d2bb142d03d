"""The distribution of a single sample: quantiles, scores, loss, and draws spread evenly."""

import pytest
import torch

from condi_core.imputer.marginal import Marginal, spread_evenly

MEDIAN, DEVIATION = 0.7, 0.5


def marginal(tail: float, skew: float, shape=()) -> Marginal:
    return Marginal(*(torch.full(shape, value) for value in (MEDIAN, DEVIATION, tail, skew)))


@pytest.mark.parametrize("tail", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("skew", [-0.9, 0.0, 0.5])
def test_scores_and_quantiles_are_inverse_to_each_other(tail, skew):
    z = torch.linspace(-4, 4, 81)
    x = marginal(tail, skew).quantile(z)
    assert (x.diff() > 0).all()
    assert x[40] == pytest.approx(MEDIAN)
    torch.testing.assert_close(marginal(tail, skew).normal_score(x), z, atol=2e-3, rtol=0)


def test_without_tails_the_distribution_is_normal():
    z = torch.linspace(-3, 3, 61)
    torch.testing.assert_close(marginal(0.01, 0.0).quantile(z), MEDIAN + DEVIATION * z, atol=1e-3, rtol=1e-3)


def test_tails_are_heavier_on_the_side_of_the_skew():
    low, high = marginal(0.8, 0.6).quantile(torch.tensor([-2.0, 2.0])).tolist()
    assert high - MEDIAN > 1.5 * (MEDIAN - low)
    low, high = marginal(0.8, 0.0).quantile(torch.tensor([-2.0, 2.0])).tolist()
    assert high - MEDIAN == pytest.approx(MEDIAN - low, rel=1e-4)
    assert high - MEDIAN > 1.2 * 2 * DEVIATION


def test_the_loss_is_smallest_at_the_distribution_of_the_data():
    z = torch.special.ndtri((torch.arange(4000) + 0.5) / 4000)
    x = marginal(0.6, 0.4).quantile(z)

    def loss(**changes: float) -> float:
        at = {"median": MEDIAN, "deviation": DEVIATION, "tail": 0.6, "skew": 0.4} | changes
        return Marginal(*(torch.full(x.shape, value) for value in at.values())).loss(x).mean().item()

    best = loss()
    for changes in ({"deviation": 0.4}, {"deviation": 0.6}, {"tail": 0.2}, {"skew": 0.0}, {"median": 0.1}):
        assert loss(**changes) > best + 1e-3, changes


def test_the_loss_of_any_number_is_finite_and_of_outliers_linear():
    x = torch.tensor([-1e6, -1e3, 0.0, 1e3, 1e6])
    of = Marginal(*(torch.full(x.shape, value).requires_grad_() for value in (MEDIAN, 1e-3, 0.01, 0.0)))
    of.loss(x).sum().backward()
    assert all(torch.isfinite(part.grad).all() for part in of)
    assert of.median.grad.abs().max() < 12


def test_spread_draws_keep_their_order_and_have_the_quantiles_of_a_normal():
    scores = torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(0)) ** 3 + 1
    spread = spread_evenly(scores)
    assert torch.equal(spread.argsort(0), scores.argsort(0))
    levels = torch.special.ndtr(spread.sort(0).values)
    expected = (torch.arange(20) + 0.5) / 20
    torch.testing.assert_close(levels, expected[:, None, None].expand(20, 3, 4))


def test_a_single_draw_stays_random():
    scores = torch.randn(1, 3, 4)
    assert spread_evenly(scores) is scores
