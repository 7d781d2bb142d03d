"""Noise schedule and sampler, against closed forms."""

import math

import pytest
import torch

from condi_core.imputer.diffusion import ProbabilityFlow, add_noise, signal_and_noise, velocity


def test_schedule_starts_at_the_data_and_ends_in_noise():
    a, s = signal_and_noise(torch.linspace(0, 1, 101, dtype=torch.float64))
    torch.testing.assert_close(a.square() + s.square(), torch.ones_like(a))
    assert a[0] == 1 and s[0] == 0
    assert a[-1].square() < 1e-3
    assert (a.diff() < 0).all()
    assert a[50].square().item() == pytest.approx(0.5)
    assert a[33].square().item() == pytest.approx(math.cos(math.pi * 0.33 / 2) ** 2)


def test_data_and_noise_are_recovered_from_the_noisy_sample_and_its_velocity():
    clean, noise = torch.randn(2, 5, 3, 4, 2, dtype=torch.float64)
    t = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    x, v = add_noise(clean, noise, t), velocity(clean, noise, t)
    a, s = (c.view(-1, 1, 1, 1) for c in signal_and_noise(t))
    torch.testing.assert_close(a * x - s * v, clean)
    torch.testing.assert_close(s * x + a * v, noise)
    assert torch.equal(x[0], clean[0])
    torch.testing.assert_close(x[-1], noise[-1])


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_sampler_walks_from_one_to_zero_in_its_number_of_steps(steps):
    times = ProbabilityFlow(steps).times()
    assert len(times) == steps
    assert times[0][0] == 1 and times[-1][1] == 0
    assert all(a[1] == b[0] for a, b in zip(times, times[1:], strict=False))
    assert all(t - s == pytest.approx(1 / steps) for t, s in times)


@pytest.mark.parametrize("steps", [1, 3])
def test_standard_normal_residuals_are_left_as_they_are(steps):
    start = torch.randn(6, 3, 4)
    drawn = ProbabilityFlow(steps).sample(
        start, lambda x, t: exact_gaussian(0.0, 1.0)(x.flatten(1), t).view_as(x)
    )
    torch.testing.assert_close(drawn, start, atol=1e-6, rtol=1e-6)


def test_data_that_are_known_are_reached():
    clean, start = torch.randn(2, 6, 3)

    def predict(x, t):
        a, s = (c[:, None] for c in signal_and_noise(t.double().clamp(min=1e-6)))
        return (a * (x - a * clean) / s - s * clean).float()

    errors = [(ProbabilityFlow(n).sample(start, predict) - clean).abs().max().item() for n in (10, 100)]
    assert errors[1] < 0.2 * errors[0] and errors[1] < 0.1


def exact_gaussian(mean: float, deviation: float):
    """Velocity that a perfect network predicts when the data are normal."""

    def predict(x, t):
        a, s = (c.view(-1, 1) for c in signal_and_noise(t.to(x.dtype)))
        total = a**2 * deviation**2 + s**2
        clean = mean + a * deviation**2 / total * (x - a * mean)
        noise = s / total * (x - a * mean)
        return a * noise - s * clean

    return predict


def test_normal_data_come_out_with_their_mean_and_variance():
    mean, deviation = 1.7, 0.4
    start = torch.randn(2000, 3, dtype=torch.float64)
    predict = exact_gaussian(mean, deviation)
    # The probability flow of a normal distribution is known: it scales and shifts the starting noise.
    exact = mean + deviation * start
    errors = [
        (ProbabilityFlow(n).sample(start, predict) - exact).abs().max().item() for n in (2, 4, 8, 16, 64, 256)
    ]
    assert all(later < 0.7 * earlier for earlier, later in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 0.005 * start.abs().max()
    drawn = ProbabilityFlow(256).sample(start, predict)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.02)
    assert drawn.std().item() == pytest.approx(deviation, rel=0.03)


def test_few_steps_approach_many():
    start = torch.randn(500, 3)
    predict = exact_gaussian(-0.5, 0.8)
    many = ProbabilityFlow(400).sample(start, predict)
    far, near = ((ProbabilityFlow(n).sample(start, predict) - many).abs().mean() for n in (4, 40))
    assert far < 0.25
    assert near < 0.15 * far
    assert many.dtype == torch.float32
