"""The covariance of windows and its filters, and EM steps that adapt it to a window."""

import pytest
import torch

from condi_core.imputer import gaussian_process, window_covariance
from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.gaussian_process import NOISE_VARIANCE, conditional_mean
from condi_core.imputer.window_covariance import (
    MAX_BLOCKS,
    OVERRELAXATION,
    PRIOR_WEIGHT,
    StationaryPrior,
    WindowCovariance,
)
from tests.helpers.toy import ar_process, related_windows


def adapted(prior: StationaryPrior, windows: int, share: float, noise_variance=NOISE_VARIANCE):
    """Return a covariance with another random K in every window and band."""
    m, generator = prior.root.shape[1], torch.Generator().manual_seed(7)
    shape = (windows, len(prior.bands), m, m)
    log_k = torch.randn(shape, generator=generator, dtype=torch.complex64)
    log_k = (log_k + log_k.mH) / 2
    return WindowCovariance(prior, torch.full((windows, m), share), noise_variance, log_k)


@pytest.mark.parametrize("time", [40, 200, 401, 1200])
@pytest.mark.parametrize("max_blocks", [None, MAX_BLOCKS, 7])
def test_filters_are_symmetric_and_the_inverse_is_that_of_the_covariance(time, max_blocks):
    """Conjugate gradients need that <x, Q y> = <Q x, y>, over the whole circle."""
    cross_spectrum, x = related_windows(3, time)
    prior = StationaryPrior(cross_spectrum, max_blocks)
    assert len(prior.root) <= (max_blocks or prior.frequencies)
    circle = prior.filter(torch.eye(3, dtype=torch.complex64).expand_as(prior.root), x)
    torch.testing.assert_close(circle[..., :time], x)
    assert circle[..., time:].abs().max() < 1e-5
    covariance = adapted(prior, len(x), 0.5)
    root = [prior.root[band.blocks] for band in prior.bands]
    expected = torch.cat([r @ k @ r for r, k in zip(root, covariance.k.unbind(1), strict=True)], 1)
    identity = covariance.inverse @ (expected + NOISE_VARIANCE * torch.eye(3))
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity).cfloat(), rtol=0, atol=2e-3)
    assert covariance.preconditioner.shape[1] <= MAX_BLOCKS
    y = torch.randn(circle.shape)
    for matrices in (covariance.inverse, covariance.preconditioner):
        forward, backward = (prior.filter(matrices, v) for v in (circle, y))
        torch.testing.assert_close((forward * y).sum(), (backward * circle).sum(), rtol=1e-4, atol=1e-2)
        assert ((backward * y).sum((1, 2)) > 0).all()


def test_with_everything_observed_a_step_of_em_is_the_formula():
    """EM has K = (weight + sum of u uᴴ) / (weight + frequencies) in each band, as nothing is uncertain."""
    cross_spectrum, x = related_windows(3, 200)
    prior = StationaryPrior(cross_spectrum)
    white = torch.randn(2, 3, cross_spectrum.fft_length)
    u = prior.to_spectrum(white, prior.frequencies)
    covariance = adapted(prior, 2, 0.999, noise_variance=1e-9)
    step = covariance.em_step(prior.filter(prior.root, white))
    for i, band in enumerate(prior.bands):
        coordinates = u[:, band.blocks].transpose(1, 2).flatten(2)
        assert coordinates.shape[2] == band.bins
        k = (PRIOR_WEIGHT * 3 * torch.eye(3) + coordinates @ coordinates.mH) / (PRIOR_WEIGHT * 3 + band.bins)
        before = covariance.log_k[:, i]
        # The logarithm moves further than that of EM.
        by_em = torch.linalg.matrix_exp(before + (step.log_k[:, i] - before) / OVERRELAXATION)
        torch.testing.assert_close(by_em, k, rtol=1e-2, atol=2e-3)
        torch.testing.assert_close(step.k[:, i, 0], torch.linalg.matrix_exp(step.log_k[:, i]))
        product = step.k[:, i, 0] @ step.precision[:, i, 0]
        torch.testing.assert_close(product, torch.eye(3).expand_as(product).cfloat(), rtol=0, atol=1e-4)


def test_over_relaxed_em_has_the_fixed_points_of_em_and_comes_closer_in_as_many_steps(monkeypatch):
    cross_spectrum, x = related_windows(3, 200)
    x = 2 * x[:, [1, 2, 0]]
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(10)) < 0.3
    y = torch.where(observed, x, 0.0)

    def estimate(em_steps: int, factor: float) -> torch.Tensor:
        monkeypatch.setattr(window_covariance, "OVERRELAXATION", factor)
        return conditional_mean(y, observed, cross_spectrum, em_steps, iterations=40)

    mode = estimate(200, 1.0)
    size = mode[~observed].square().mean().sqrt()

    def distance(em_steps: int, factor: float) -> float:
        return float((estimate(em_steps, factor) - mode)[~observed].square().mean().sqrt() / size)

    assert distance(120, OVERRELAXATION) < 3e-3
    assert distance(4, OVERRELAXATION) < 1.02 * distance(6, 1.0) < 0.96 * distance(4, 1.0)


def test_the_preconditioner_is_the_inverse_where_nothing_is_observed():
    cross_spectrum, _ = related_windows(3, 200)
    covariance = adapted(StationaryPrior(cross_spectrum, MAX_BLOCKS), 2, 0.0)
    product = covariance.preconditioner @ covariance.inverse
    torch.testing.assert_close(product, torch.eye(3).expand_as(product).cfloat(), rtol=0, atol=2e-3)


def test_the_preconditioner_saves_iterations(monkeypatch):
    cross_spectrum, x = related_windows(3, 400)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(11)) < 0.5
    observed[:, :, 100:160] = False
    y = torch.where(observed, x, 0.0)

    def estimate(iterations: int) -> torch.Tensor:
        return conditional_mean(y, observed, cross_spectrum, iterations=iterations, max_factorised=0)

    exact = estimate(300)
    error = (estimate(10) - exact).square().mean().sqrt()
    monkeypatch.setattr(
        WindowCovariance, "_approximate_posterior", lambda self: self.eye.expand_as(self.inverse)
    )
    assert error < 0.5 * (estimate(10) - exact).square().mean().sqrt()


def test_blocks_of_frequencies_change_little(monkeypatch):
    cross_spectrum, x = related_windows(3, 800)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(12)) < 0.5
    y = torch.where(observed, x, 0.0)
    assert (
        len(StationaryPrior(cross_spectrum, MAX_BLOCKS).root) <= MAX_BLOCKS < cross_spectrum.fft_length // 2
    )
    in_blocks = conditional_mean(y, observed, cross_spectrum, 4)
    monkeypatch.setattr(gaussian_process, "MAX_BLOCKS", None)
    separate = conditional_mean(y, observed, cross_spectrum, 4)
    error, expected = ((mean - x)[~observed].square().mean().sqrt() for mean in (in_blocks, separate))
    assert abs(error / expected - 1) < 0.005
    assert (in_blocks - separate)[~observed].square().mean().sqrt() < 0.1 * expected


def test_a_window_without_observed_samples_has_the_covariance_of_the_population():
    cross_spectrum, _ = related_windows(3, 40)
    prior = StationaryPrior(cross_spectrum)
    nothing = WindowCovariance(prior, torch.zeros(2, 3), NOISE_VARIANCE)
    step = nothing.em_step(torch.zeros(2, 3, 40))
    torch.testing.assert_close(step.log_k, torch.zeros_like(step.log_k), rtol=0, atol=1e-4)


@pytest.mark.parametrize("modalities, rank", [(12, 1), (64, 1), (64, 64)])
def test_matrices_are_finite_at_the_ends_of_the_range_of_k(modalities, rank):
    """Modalities that follow from one another, most power at low frequencies, and K far from the identity."""
    generator, time = torch.Generator().manual_seed(14), 600
    x = torch.fft.rfft(torch.randn(60, rank, time, generator=generator))
    x = torch.fft.irfft(x / (1 + (torch.arange(time // 2 + 1) / 3) ** 2), n=time)
    x = torch.randn(modalities, rank, generator=generator) @ x
    x = x / x.std((0, 2), keepdim=True)
    cross_spectrum = CrossSpectrum(range(modalities), time)
    cross_spectrum.spectrum.copy_(cross_spectrum.sum_periodograms(x) / len(x))
    prior = StationaryPrior(cross_spectrum, MAX_BLOCKS)
    shape = (2, len(prior.bands), modalities, modalities)
    vectors = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.complex64)).Q
    values = 20 * torch.rand(*shape[:2], 1, modalities, generator=generator) - 10
    observed = torch.full((2, modalities), 0.4)
    observed[:, modalities // 2 :] = 0
    covariance = WindowCovariance(prior, observed, NOISE_VARIANCE, vectors * values @ vectors.mH)
    after = covariance.em_step(torch.randn(2, modalities, prior.fft_length, generator=generator))
    for matrices in (covariance.inverse, covariance.preconditioner, after.log_k, after.inverse):
        assert torch.isfinite(matrices.abs()).all()


def test_adaptation_improves_the_completion_of_an_unusual_window():
    """The leads of this patient are mixed differently from those of the population."""
    generator = torch.Generator().manual_seed(3)
    time, draws = 400, 60
    a = 0.9 * torch.eye(3)
    population = torch.randn(3, 3, generator=generator)
    x = ar_process(draws, time, a, population, generator)
    scale = x.std((0, 2), keepdim=True)
    cross_spectrum = CrossSpectrum(range(3), time)
    cross_spectrum.spectrum.copy_(cross_spectrum.sum_periodograms(x / scale) / draws)
    window = ar_process(20, time, a, torch.randn(3, 1, generator=generator), generator)
    window = window / window.std((0, 2), keepdim=True)
    observed = torch.rand(window.shape, generator=generator) < 0.4
    y = torch.where(observed, window, 0.0)
    errors = [
        (conditional_mean(y, observed, cross_spectrum, em_steps=n) - window)[~observed].square().mean().sqrt()
        for n in (0, 1, 3)
    ]
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] < 0.8 * errors[0]


def test_adaptation_starts_from_the_power_of_the_window():
    """A record of larger amplitude is completed like the same record of usual amplitude."""
    cross_spectrum, x = related_windows(3, 400)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) < 0.5
    usual, loud = (
        conditional_mean(torch.where(observed, k * x, 0.0), observed, cross_spectrum, 3) / k for k in (1, 20)
    )
    assert (loud - usual)[~observed].square().mean().sqrt() < 0.05 * usual[~observed].square().mean().sqrt()


def test_adaptation_does_not_harm_a_typical_window():
    cross_spectrum, _ = related_windows(3, 200)
    generator = torch.Generator().manual_seed(4)
    white = torch.randn(40, 3, cross_spectrum.fft_length, generator=generator)
    prior = StationaryPrior(cross_spectrum)
    x = prior.filter(prior.root, white)[..., :200]
    x = x + NOISE_VARIANCE**0.5 * torch.randn(x.shape, generator=generator)
    observed = torch.rand(x.shape, generator=generator) < 0.5
    y = torch.where(observed, x, 0.0)
    exact, adapted = (
        (conditional_mean(y, observed, cross_spectrum, em_steps=n, iterations=60) - x)[~observed]
        .square()
        .mean()
        .sqrt()
        for n in (0, 3)
    )
    assert exact < adapted < 1.05 * exact


@pytest.mark.parametrize("time", [1, 2, 3, 7, 48])
def test_short_windows_have_fewer_bands(time):
    cross_spectrum, x = related_windows(2, max(time, 2))
    cross_spectrum = CrossSpectrum(range(2), time)
    x = x[..., :time]
    observed = torch.rand(x.shape) < 0.7
    prior = StationaryPrior(cross_spectrum, MAX_BLOCKS)
    bands = [band.blocks for band in prior.bands]
    assert len(bands) <= max(1, prior.frequencies // 16)
    assert bands[0].start == 0 and bands[-1].stop == len(prior.root)
    assert all(band.start < band.stop for band in bands)
    assert all(a.stop == b.start for a, b in zip(bands, bands[1:], strict=False))
    assert sum(band.bins for band in prior.bands) == prior.frequencies == cross_spectrum.fft_length // 2 + 1
    assert torch.isfinite(
        conditional_mean(torch.where(observed, x, 0.0), observed, cross_spectrum, em_steps=3)
    ).all()
