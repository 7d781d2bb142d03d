"""The site's own limit and noise of its updates: their size, and what they give."""

from __future__ import annotations

import numpy as np
import pytest

from client_app.node.local_noise import compute_local_epsilon, protect_update
from client_app.node.site_policy import SitePolicy

START = {"a": np.ones((3, 4), np.float32), "b": np.zeros(5, np.float32), "not trained": np.ones(2)}


def trained(size: float) -> dict[str, np.ndarray]:
    """Return weights whose change has the norm `size`, over both arrays."""
    return {
        "a": START["a"] + np.float32(size * 0.6 / 12**0.5),
        "b": START["b"] + np.float32(size * 0.8 / 5**0.5),
    }


def change(weights) -> dict[str, np.ndarray]:
    return {name: array - START[name] for name, array in weights.items()}


def norm(weights) -> float:
    return float(np.sqrt(sum(np.square(part.astype(float)).sum() for part in change(weights).values())))


def test_without_a_limit_the_trained_weights_are_sent_to_the_bit():
    sent = protect_update(trained(7.0), START, SitePolicy())
    assert all(np.array_equal(sent[name], array) for name, array in trained(7.0).items())


@pytest.mark.parametrize(("size", "expected"), [(0.5, 0.5), (2.0, 2.0), (7.0, 2.0), (1e20, 2.0)])
def test_a_change_is_shortened_to_the_limit_over_all_weights(size, expected):
    sent = protect_update(trained(size), START, SitePolicy(update_clip_norm=2.0))
    assert norm(sent) == pytest.approx(expected, rel=1e-5)
    assert {name: array.dtype for name, array in sent.items()} == {"a": np.float32, "b": np.float32}
    if size < 1e10:
        ratio = change(sent)["a"] / change(trained(size))["a"]
        np.testing.assert_allclose(ratio, expected / size, rtol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_change_that_is_not_finite_is_sent_as_none(bad):
    weights = trained(1.0)
    weights["a"][0, 0] = bad
    assert norm(protect_update(weights, START, SitePolicy(update_clip_norm=2.0))) == 0


def test_noise_has_the_deviation_that_the_policy_asks_for():
    start = {"a": np.zeros(40_000, np.float32)}
    policy = SitePolicy(update_clip_norm=0.5, update_noise_multiplier=3.0)
    first, second = (protect_update(start, start, policy)["a"] for _ in range(2))
    assert first.std() == pytest.approx(1.5, rel=0.03) and abs(first.mean()) < 0.05
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_epsilon_is_that_of_one_gaussian_mechanism_when_all_data_of_the_site_are_replaced():
    policy = SitePolicy(update_clip_norm=1.0, update_noise_multiplier=1.0)
    # mu = 2 sqrt(8): delta(39.38) = 1e-5 by theorem 8 of Balle and Wang 2018
    assert compute_local_epsilon(policy, 8, 1e-5) == pytest.approx(39.38, rel=2e-3)
