"""The conditional mean and draws, compared with dense linear algebra, and EM steps that adapt to a window."""

import pytest
import torch

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.gaussian_process import NOISE_VARIANCE, conditional_mean
from condi_core.imputer.window_covariance import PRIOR_WEIGHT, StationaryPrior, WindowCovariance
from tests.helpers.toy import ar_process


def related(modalities: int, time: int, seed: int = 0) -> tuple[CrossSpectrum, torch.Tensor]:
    """Return a cross-spectrum with lags, estimated from windows of a process, and some of the windows."""
    generator = torch.Generator().manual_seed(seed)
    a = 0.6 * torch.eye(modalities) + 0.3 * torch.diag(torch.ones(modalities - 1), 1)
    b = torch.randn(modalities, modalities, generator=generator) / modalities**0.5
    x = ar_process(200, time, a, b, generator)
    x = x / x.std((0, 2), keepdim=True)
    cross_spectrum = CrossSpectrum(range(modalities), time)
    cross_spectrum.spectrum.copy_(cross_spectrum.sum_periodograms(x) / len(x))
    return cross_spectrum, x[:5]


def dense(cross_spectrum: CrossSpectrum, time: int) -> torch.Tensor:
    """Return the covariance of all samples of a window, float64 `(modality, time, modality, time)`."""
    lags = torch.fft.irfft(cross_spectrum.matrix().to(torch.complex128), n=cross_spectrum.fft_length, dim=0)
    apart = (torch.arange(time)[:, None] - torch.arange(time)) % cross_spectrum.fft_length
    return lags[apart].permute(2, 0, 3, 1)


def dense_conditional(cross_spectrum, x, observed) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and covariance, over modality × time, of one window given its observed samples."""
    m, time = x.shape
    c = dense(cross_spectrum, time).reshape(m * time, m * time)
    s = observed.flatten()
    gain = torch.linalg.solve(c[s][:, s] + NOISE_VARIANCE * torch.eye(int(s.sum())), c[s]).T
    return (gain @ x.flatten()[s].double()).view(m, time), c - gain @ c[s]


@pytest.mark.parametrize("time", [24, 25, 40])
@pytest.mark.parametrize("missingness", ["points", "gap", "modality", "two samples"])
@pytest.mark.parametrize("max_factorised", [0, 45, 1000])  # none, some and all of the windows
def test_conditional_mean_is_that_of_the_dense_gaussian(time, missingness, max_factorised):
    cross_spectrum, x = related(3, time)
    observed = torch.rand(x.shape) < 0.5
    if missingness == "gap":
        observed[:] = True
        observed[:, 1, 5:17] = False
    elif missingness == "modality":
        observed[:, 2] = False
    elif missingness == "two samples":
        observed[:] = False
        observed[:, 0, 3] = observed[:, 1, 20] = True
    y = torch.where(observed, x, 0.0)
    mean = conditional_mean(y, observed, cross_spectrum, iterations=150, max_factorised=max_factorised)
    for i in range(len(x)):
        expected, _ = dense_conditional(cross_spectrum, x[i], observed[i])
        assert (mean[i] - expected).abs().max() < 1e-3
        assert expected.abs().max() > 0.1


def test_more_iterations_come_closer_to_the_exact_mean():
    cross_spectrum, x = related(3, 60)
    observed = torch.rand(x.shape) < 0.5
    y = torch.where(observed, x, 0.0)
    exact, *iterated = (
        conditional_mean(y, observed, cross_spectrum, iterations=n, max_factorised=0)
        for n in (200, 0, 5, 10, 20)
    )
    errors = [(x - exact).square().mean().sqrt() for x in iterated]
    assert all(later < 0.65 * earlier for earlier, later in zip(errors, errors[1:], strict=False))
    assert errors[2] < 0.15
    assert errors[3] < 0.03


def test_conditional_mean_of_a_window_does_not_depend_on_the_others():
    cross_spectrum, x = related(3, 40)
    observed = torch.rand(x.shape) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None]
    y = torch.where(observed, x, 0.0)
    together = conditional_mean(y, observed, cross_spectrum)
    separate = torch.cat(
        [conditional_mean(y[i : i + 1], observed[i : i + 1], cross_spectrum) for i in range(len(y))]
    )
    torch.testing.assert_close(together, separate, atol=1e-3, rtol=0)


def test_nothing_observed_gives_the_mean():
    cross_spectrum, x = related(2, 30)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    assert (conditional_mean(torch.zeros_like(x), nothing, cross_spectrum) == 0).all()


def test_draws_have_the_conditional_mean_and_covariance():
    time, draws = 12, 6000
    cross_spectrum, x = related(2, time)
    observed = torch.rand(2, time, generator=torch.Generator().manual_seed(5)) < 0.4
    mean, covariance = dense_conditional(cross_spectrum, x[0], observed)
    many = torch.where(observed, x[0], 0.0).expand(draws, -1, -1)
    samples = conditional_mean(
        many,
        observed.expand(draws, -1, -1),
        cross_spectrum,
        iterations=40,
        generator=torch.Generator().manual_seed(0),
    )
    deviation = covariance.diagonal().sqrt().view(2, time)
    assert ((samples.mean(0) - mean) / deviation).abs().max() < 5 / draws**0.5
    assert (samples.std(0) / deviation - 1).abs().max() < 5 / (2 * draws) ** 0.5
    assert (torch.cov(samples.flatten(1).T) - covariance).abs().max() < 0.06
    assert covariance.abs().max() > 0.3


def test_draws_are_those_of_the_generator():
    cross_spectrum, x = related(2, 30)
    observed = torch.rand(x.shape) < 0.5
    y = torch.where(observed, x, 0.0)
    first, again, other = (
        conditional_mean(y, observed, cross_spectrum, generator=torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert (first - other)[~observed].abs().mean() > 0.1


def test_only_observed_samples_matter():
    cross_spectrum, x = related(3, 30)
    observed = torch.rand(x.shape) < 0.5
    means = [
        conditional_mean(torch.where(observed, x, bad), observed, cross_spectrum, em_steps=2)
        for bad in (0.0, 1e3)
    ]
    torch.testing.assert_close(*means)


# Adaptation to the window itself.


def test_the_maps_between_coordinates_and_window_are_adjoint():
    """<window(u), x> = <u, adjoint(x)> over the whole circle of frequencies."""
    cross_spectrum, x = related(3, 40)
    x = x.permute(2, 1, 0)
    prior = StationaryPrior(cross_spectrum, 40)
    u = prior.to_spectrum(torch.randn(cross_spectrum.fft_length, 3, 5))
    weight = torch.full((len(u),), 2.0)
    weight[0] = weight[-1] = 1.0  # the length is even
    forward = (prior.to_window(u) * x).sum()
    backward = ((u.conj() * prior.apply_adjoint(x)).real.sum((1, 2)) * weight).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-4, atol=1e-3)


def test_with_everything_observed_a_step_of_em_is_the_formula():
    """K = (weight + sum of u uᴴ) / (weight + frequencies) in each band, as nothing is uncertain."""
    cross_spectrum, x = related(3, 200)
    prior = StationaryPrior(cross_spectrum, 200)
    u = prior.to_spectrum(torch.randn(cross_spectrum.fft_length, 3, 2))
    observed = torch.ones(cross_spectrum.fft_length, 3, 2)  # even beyond the window
    u = u.permute(2, 1, 0).contiguous()
    penalty = WindowCovariance(prior, observed, 1e-9).em_step(u).apply_precision(u)
    for band in prior.bands:
        for i in range(2):
            coordinates = u[i, :, band.start : band.end]
            k = (PRIOR_WEIGHT * 3 * torch.eye(3) + coordinates @ coordinates.mH) / (
                PRIOR_WEIGHT * 3 + band.end - band.start
            )
            expected = torch.linalg.solve(k, coordinates)
            result = penalty[i, :, band.start : band.end]
            torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)


def test_the_preconditioner_is_the_inverse_where_everything_is_observed_and_the_spectrum_is_flat():
    cross_spectrum, _ = related(3, 200)
    flat = cross_spectrum.spectrum[:, :, :1].clone()
    flat[..., 1] = 0  # the imaginary part
    cross_spectrum.spectrum.copy_(flat.expand_as(cross_spectrum.spectrum))
    prior = StationaryPrior(cross_spectrum, cross_spectrum.fft_length)
    observed = torch.ones(cross_spectrum.fft_length, 3, 2)
    covariance = WindowCovariance(prior, observed, NOISE_VARIANCE)
    u = prior.to_spectrum(torch.randn(cross_spectrum.fft_length, 3, 2))
    by_window = u.permute(2, 1, 0).contiguous()
    applied = NOISE_VARIANCE * by_window + prior.apply_adjoint(prior.to_window(u)).permute(2, 1, 0)
    torch.testing.assert_close(covariance.precondition(applied), by_window, rtol=1e-3, atol=1e-3)


def test_a_window_without_observed_samples_has_the_covariance_of_the_population():
    cross_spectrum, _ = related(3, 40)
    prior = StationaryPrior(cross_spectrum, 40)
    u = prior.to_spectrum(torch.randn(cross_spectrum.fft_length, 3, 2))
    u = u.permute(2, 1, 0).contiguous()
    nothing = WindowCovariance(prior, torch.zeros(40, 3, 2), NOISE_VARIANCE).em_step(0 * u)
    torch.testing.assert_close(nothing.apply_precision(u), u, rtol=1e-4, atol=1e-4)


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
    cross_spectrum, x = related(3, 400)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) < 0.5
    usual, loud = (
        conditional_mean(torch.where(observed, k * x, 0.0), observed, cross_spectrum, 3) / k for k in (1, 20)
    )
    assert (loud - usual)[~observed].square().mean().sqrt() < 0.05 * usual[~observed].square().mean().sqrt()


def test_adaptation_does_not_harm_a_typical_window():
    cross_spectrum, _ = related(3, 200)
    generator = torch.Generator().manual_seed(4)
    white = torch.randn(cross_spectrum.fft_length, 3, 40, generator=generator)
    prior = StationaryPrior(cross_spectrum, 200)
    x = prior.to_window(prior.to_spectrum(white)).permute(2, 1, 0)
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
    cross_spectrum, x = related(2, max(time, 2))
    cross_spectrum = CrossSpectrum(range(2), time)
    x = x[..., :time]
    observed = torch.rand(x.shape) < 0.7
    bands = StationaryPrior(cross_spectrum, time).bands
    assert bands[0].start == 0 and bands[-1].end == cross_spectrum.fft_length // 2 + 1
    assert all(band.start < band.end for band in bands)
    assert all(a.end == b.start for a, b in zip(bands, bands[1:], strict=False))
    for band in bands:
        assert len(band.middle) == -(-(band.end - band.start) // band.width) <= 8
        assert band.start <= band.middle.min() and band.middle.max() < band.end
    assert torch.isfinite(
        conditional_mean(torch.where(observed, x, 0.0), observed, cross_spectrum, em_steps=3)
    ).all()


def test_draws_with_em_steps_are_refused():
    cross_spectrum, x = related(2, 30)
    observed = torch.rand(x.shape) < 0.5
    with pytest.raises(ValueError, match="set em_steps to 0, not 1"):
        conditional_mean(x, observed, cross_spectrum, 1, generator=torch.Generator())
