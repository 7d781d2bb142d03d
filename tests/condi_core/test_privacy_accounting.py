"""The accountant of patient-level privacy, compared with computations that do not use its library."""

import math

import numpy as np
import pytest

from condi_core.privacy.accounting import (
    GaussianRelease,
    calibrate_sampled_noise,
    compute_epsilon,
    split_budget,
)
from condi_core.privacy.plan import plan_privacy, sampling_rate
from server_app.federation.differential_privacy import compute_site_epsilon
from tests.helpers.toy import settings

DELTA = 1e-5


def renyi_epsilon(noise: float, rate: float, steps: int) -> float:
    """Bound epsilon by Rényi privacy of integer orders (Mironov, Talwar and Zhang 2019, section 3.3)."""
    best = math.inf
    for order in range(2, 128):
        terms = [
            math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
            + (order - k) * math.log1p(-rate) + k * math.log(rate) + k * (k - 1) / (2 * noise**2)
            for k in range(order + 1)
        ]  # fmt: skip
        renyi = steps * np.logaddexp.reduce(terms) / (order - 1)
        conversion = math.log1p(-1 / order) - math.log(DELTA * order) / (order - 1)
        best = min(best, renyi + conversion)
    return best


def convolved_delta(noise: float, rate: float, steps: int, epsilon: float) -> float:
    """Compute delta from the privacy losses of a step on a grid, convolved by Fourier transforms."""
    x, step = np.linspace(-14 * noise, 14 * noise + 1, 400_001, retstep=True)
    plain, moved = (np.exp(-((x - mean) ** 2) / (2 * noise**2)) for mean in (0, 1))
    plain, moved = (p / (noise * math.sqrt(2 * math.pi)) * step for p in (plain, moved))
    mixed = (1 - rate) * plain + rate * moved
    deltas = []
    for p, q in ((mixed, plain), (plain, mixed)):
        resolution, size = 2e-4, 2**19
        cells = np.rint(np.log(p / q) / resolution).astype(int)
        mass = np.bincount(cells % size, p, size)
        total = np.fft.irfft(np.fft.rfft(mass) ** steps, size)
        losses = resolution * ((np.arange(size) + size // 2) % size - size // 2)
        deltas.append(float((total * np.maximum(-np.expm1(np.minimum(epsilon - losses, 0)), 0)).sum()))
    return max(deltas)


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.05, 100), (2.0, 0.5, 20), (1.5, 0.1, 1)])
def test_epsilon_of_sampled_gradients_is_that_of_their_convolved_privacy_losses(noise, rate, steps):
    epsilon = compute_epsilon([GaussianRelease(noise, rate, steps)], DELTA)
    assert convolved_delta(noise, rate, steps, epsilon) == pytest.approx(DELTA, rel=0.02)
    assert epsilon < renyi_epsilon(noise, rate, steps) < 1.5 * epsilon


@pytest.mark.parametrize("releases", [1, 9])
def test_without_sampling_epsilon_is_the_exact_one_of_the_gaussian_mechanism(releases):
    # That of sites is for a sensitivity of two norms.
    expected = compute_site_epsilon(2 * 3.0, releases, DELTA)
    assert compute_epsilon([GaussianRelease(3.0, 1.0, releases)], DELTA) == pytest.approx(expected, rel=2e-3)


def test_releases_add_up_in_any_order_and_none_costs_nothing():
    first, second = GaussianRelease(2.0), GaussianRelease(1.2, 0.1, 30)
    split = [GaussianRelease(1.2, 0.1, 10), first, GaussianRelease(1.2, 0.1, 20)]
    assert compute_epsilon([first, second], DELTA) == compute_epsilon(split, DELTA)
    assert compute_epsilon([first, second], DELTA) > compute_epsilon([second], DELTA)
    assert compute_epsilon([], DELTA) == 0


def test_shares_of_the_budget_add_up_to_it():
    multipliers = split_budget([0.1, 0.3, 0.6], 2.0, DELTA)
    assert compute_epsilon(map(GaussianRelease, multipliers), DELTA) == pytest.approx(2.0, rel=3e-3)


def test_calibrated_noise_spends_the_budget_and_no_more():
    others = (GaussianRelease(3.0), GaussianRelease(5.0))
    noise = calibrate_sampled_noise(((0.05, 60), (0.2, 20)), others, 3.0, DELTA)
    spent = compute_epsilon(
        [*others, GaussianRelease(noise, 0.05, 60), GaussianRelease(noise, 0.2, 20)], DELTA
    )
    assert 2.95 < spent <= 3.0


def test_a_plan_spends_epsilon_on_all_that_a_run_releases():
    config = settings(
        method="condi", compare_with="mask", privacy__patient_epsilon=4.0, task__batch=30, imputer__batch=20
    )
    plan = plan_privacy(config, patients=200, labelled_patients=100)
    steps = [config.imputer.rounds * config.imputer.steps, 2 * config.task.rounds * config.task.steps]
    spent = compute_epsilon(
        [
            GaussianRelease(plan.standardising, releases=2),
            GaussianRelease(plan.relation),
            GaussianRelease(plan.gradients, 0.1, steps[0]),
            GaussianRelease(plan.gradients, 0.3, steps[1]),
        ],
        DELTA,
    )
    assert 3.95 < spent <= 4.0
    without_labels = plan_privacy(config, patients=200, labelled_patients=0)
    assert without_labels.gradients < plan.gradients and without_labels.relation == plan.relation
    assert sampling_rate(30, 100) == 0.3 and sampling_rate(30, 20) == 1
