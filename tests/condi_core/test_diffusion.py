"""Noise schedule and samplers, compared with closed forms."""

import math

import pytest
import torch

from benchmarks.samplers import DDIMSampler, DDPMSampler, HeunSampler
from condi_core.imputer.diffusion import EulerSampler, add_noise, alpha_sigma, time_grid, velocity

SAMPLERS = (EulerSampler, DDIMSampler, HeunSampler, DDPMSampler)
MEAN = torch.tensor([1.7, -0.5, 0.0], dtype=torch.float64)
# Positively and negatively correlated, with deviations below, near and above that of the starting noise.
COVARIANCE = torch.tensor([[0.2, 0.15, 0.1], [0.15, 1.0, -0.4], [0.1, -0.4, 2.0]], dtype=torch.float64)
AXES = torch.linalg.eigh(COVARIANCE)


def start(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return the velocity that a perfect network predicts for normal data with MEAN and COVARIANCE."""
    a, s = (c[:, None] for c in alpha_sigma(t.double()))
    apart = (x - a * MEAN) @ AXES.eigenvectors / (a**2 * AXES.eigenvalues + s**2)
    clean = MEAN + a * (apart * AXES.eigenvalues) @ AXES.eigenvectors.T
    return a * s * apart @ AXES.eigenvectors.T - s * clean


def arrival(noise: torch.Tensor) -> torch.Tensor:
    """Return where the exact probability flow carries `noise`: it scales along the axes, and shifts."""
    return MEAN + (noise @ AXES.eigenvectors * AXES.eigenvalues.sqrt()) @ AXES.eigenvectors.T


def error(sampler, noise: torch.Tensor) -> float:
    return (sampler.sample(noise, exact) - arrival(noise)).abs().max().item()


def test_schedule_starts_at_the_data_and_ends_in_noise():
    a, s = alpha_sigma(torch.linspace(0, 1, 101, dtype=torch.float64))
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
    a, s = (c.view(-1, 1, 1, 1) for c in alpha_sigma(t))
    torch.testing.assert_close(a * x - s * v, clean)
    torch.testing.assert_close(s * x + a * v, noise)
    assert torch.equal(x[0], clean[0])
    torch.testing.assert_close(x[-1], noise[-1])


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_times_decrease_from_one_to_zero(steps):
    pairs = time_grid(steps)
    assert len(pairs) == steps
    assert pairs[0][0] == 1 and pairs[-1][1] == 0
    assert all(a[1] == b[0] for a, b in zip(pairs, pairs[1:], strict=False))
    assert all(t - s == pytest.approx(1 / steps) for t, s in pairs)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 9])
def test_steps_are_evaluations_and_start_at_pure_noise(sampler, steps):
    times = []

    def predict(x, t):
        times.append(t)
        return torch.zeros_like(x)

    sampler(steps).sample(torch.randn(4, 2), predict)
    assert len(times) == steps
    assert all(t.shape == (4,) and t.dtype == torch.float32 for t in times)
    assert (times[0] == 1).all()
    assert all((0 < t).all() and (t <= 1).all() for t in times)  # never at a sample without noise


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_the_flow_leaves_standard_normal_residuals_unchanged_and_ddim_shrinks_them(steps):
    noise = torch.randn(6, 3, 4)
    for sampler in (EulerSampler, HeunSampler):
        assert torch.equal(sampler(steps).sample(noise, lambda x, t: torch.zeros_like(x)), noise)
    shrunk = DDIMSampler(steps).sample(noise, lambda x, t: torch.zeros_like(x))
    torch.testing.assert_close(shrunk, noise * math.cos(math.pi / 2 / steps) ** steps, atol=1e-6, rtol=1e-6)


def test_a_single_step_gives_the_mean_or_overshoots_it():
    noise = start(50)
    for sampler in (DDIMSampler(1), DDPMSampler(1)):
        torch.testing.assert_close(sampler.sample(noise, exact), MEAN.expand(50, 3), atol=1e-6, rtol=0)
    for sampler in (EulerSampler(1), HeunSampler(1)):
        torch.testing.assert_close(
            sampler.sample(noise, exact), noise + math.pi / 2 * MEAN, atol=1e-6, rtol=0
        )


def test_two_evaluations_are_too_few_for_a_correction():
    assert torch.equal(HeunSampler(2).sample(start(5), exact), EulerSampler(2).sample(start(5), exact))
    assert not torch.equal(HeunSampler(3).sample(start(5), exact), EulerSampler(2).sample(start(5), exact))


@pytest.mark.parametrize(
    "sampler, order",
    [(EulerSampler, 1), (DDIMSampler, 1), (HeunSampler, 2)],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_few_steps_approach_many_with_the_order_of_the_method(sampler, order):
    noise = start(500)
    errors = [error(sampler(n), noise) for n in (32, 64, 128, 256)]
    for more, fewer in zip(errors, errors[1:], strict=False):
        assert more / fewer == pytest.approx(2**order, rel=0.15)
    samples = sampler(256).sample(noise, exact)
    torch.testing.assert_close(samples, arrival(noise), atol=0.05, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_of_correlated_normal_data_have_their_mean_and_covariance(sampler):
    torch.manual_seed(0)
    noise = start(50_000)
    noise = torch.cat([noise, -noise])  # a mean of exactly zero
    far, near = (sampler(n).sample(noise, exact) for n in (8, 64))
    torch.testing.assert_close(near.mean(0), MEAN, atol=0.02, rtol=0)
    torch.testing.assert_close(near.T.cov(), COVARIANCE, atol=0.15, rtol=0)
    misses = [(samples.T.cov() - COVARIANCE).abs().max().item() for samples in (far, near)]
    assert misses[1] < 0.3 * misses[0]


def test_deterministic_data_are_reached():
    clean, noise = torch.randn(2, 6, 3)

    def predict(x, t):
        a, s = (c[:, None] for c in alpha_sigma(t.double()))
        return (a * (x - a * clean) / s - s * clean).float()

    for steps in (1, 5):  # these samplers end on the predicted clean sample, which is exact
        for sampler in (DDIMSampler(steps), DDPMSampler(steps)):
            torch.testing.assert_close(sampler.sample(noise, predict), clean, atol=1e-5, rtol=0)
    for sampler in (EulerSampler, HeunSampler):
        errors = [(sampler(n).sample(noise, predict) - clean).abs().max().item() for n in (10, 100)]
        assert errors[1] < 0.2 * errors[0] and errors[1] < 0.1


def test_the_ddpm_chain_forgets_its_start_and_follows_its_generator():
    def sample(noise, seed):
        return DDPMSampler(4, torch.Generator().manual_seed(seed)).sample(noise, exact)

    torch.testing.assert_close(sample(start(20, seed=1), 5), sample(start(20, seed=2), 5), atol=1e-6, rtol=0)
    assert not torch.allclose(sample(start(20), 5), sample(start(20), 6), atol=0.1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_keep_shape_and_precision(sampler):
    samples = sampler(3).sample(torch.randn(2, 3, 4, 5), lambda x, t: 0.1 * x)
    assert samples.shape == (2, 3, 4, 5) and samples.dtype == torch.float32
