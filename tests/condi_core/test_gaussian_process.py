"""The conditional mean and draws, compared with dense linear algebra."""

import pytest
import torch

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.gaussian_process import CG_ITERATIONS, NOISE_VARIANCE, conditional_mean
from tests.helpers.toy import related_windows


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
    cross_spectrum, x = related_windows(3, time)
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


@pytest.mark.parametrize("kind", ["band without power", "one modality repeated", "weak modality"])
def test_conditional_mean_is_exact_where_the_spectrum_is_nearly_singular(kind):
    cross_spectrum, x = related_windows(3, 60)
    if kind == "band without power":
        cross_spectrum.spectrum[:, :, 12:24] = 0
        spectrum = torch.fft.rfft(x)
        spectrum[..., 12:24] = 0
        x = torch.fft.irfft(spectrum, n=60)
    elif kind == "one modality repeated":
        x = x[:, :1].expand(-1, 3, -1)
        cross_spectrum.spectrum.copy_(cross_spectrum.spectrum[:1, :1].expand(3, 3, -1, -1).clone())
    else:
        scale = torch.tensor([1.0, 1e-3, 1.0])
        x = scale[:, None] * x
        cross_spectrum.spectrum.copy_(
            scale[:, None, None, None] * scale[:, None, None] * cross_spectrum.spectrum
        )
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(13)) < 0.5
    observed[:, 1, 20:40] = False
    y = torch.where(observed, x, 0.0)
    exact, default = (
        conditional_mean(y, observed, cross_spectrum, iterations=n, max_factorised=0)
        for n in (150, CG_ITERATIONS)
    )
    for i in range(len(x)):
        expected, _ = dense_conditional(cross_spectrum, x[i], observed[i])
        assert (exact[i] - expected).abs().max() < 1e-3
        assert (default[i] - expected).square().mean().sqrt() < 0.05 * expected.square().mean().sqrt()


def test_more_iterations_come_closer_to_the_exact_mean():
    cross_spectrum, x = related_windows(3, 60)
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


@pytest.mark.parametrize("em_steps", [0, 4])
def test_conditional_mean_of_a_window_does_not_depend_on_the_others(em_steps):
    cross_spectrum, x = related_windows(3, 40)
    observed = torch.rand(x.shape) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None]
    y = torch.where(observed, x, 0.0)
    together = conditional_mean(y, observed, cross_spectrum, em_steps)
    separate = torch.cat(
        [conditional_mean(y[i : i + 1], observed[i : i + 1], cross_spectrum, em_steps) for i in range(len(y))]
    )
    torch.testing.assert_close(together, separate, atol=1e-3, rtol=0)
    reversed_order = conditional_mean(y.flip(0), observed.flip(0), cross_spectrum, em_steps)
    torch.testing.assert_close(together, reversed_order.flip(0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("em_steps", [0, 4])
def test_nothing_observed_gives_the_mean(em_steps):
    cross_spectrum, x = related_windows(2, 30)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    assert (conditional_mean(torch.zeros_like(x), nothing, cross_spectrum, em_steps) == 0).all()


def unusual_windows(time: int) -> dict[str, torch.Tensor]:
    """Return windows of three modalities that no process of the population generates."""
    t, noise = torch.arange(time), torch.randn(2, 3, time, generator=torch.Generator().manual_seed(8))
    spike = noise.clone()
    spike[:, 1, time // 2] = 1e4
    return {
        "zero": 0 * noise,
        "constant": 0 * noise + 5,
        "noise on a large constant": noise + 1e3,
        "ramp": 0 * noise + torch.linspace(-50, 50, time),
        "sine": 0 * noise + 100 * torch.sin(0.3 * t),
        "equal modalities": noise[:, :1].expand(-1, 3, -1),
        "spike": spike,
        "tiny": 1e-6 * noise,
        "huge": 1e12 * noise,
    }


@pytest.mark.parametrize("kind", unusual_windows(200))
@pytest.mark.parametrize("em_steps", [0, 4])
def test_estimates_of_unusual_windows_are_finite_and_of_their_size(kind, em_steps):
    cross_spectrum, _ = related_windows(3, 200)
    x = unusual_windows(200)[kind]
    half = torch.rand(x.shape, generator=torch.Generator().manual_seed(9)) < 0.5
    one_modality, start, one_sample = torch.zeros(3, *x.shape, dtype=torch.bool)
    one_modality[:, 0], start[..., :60], one_sample[:, 0, 100] = True, True, True
    for observed in (half, half | True, one_modality, start, one_sample):
        y = torch.where(observed, x, 0.0)
        mean = conditional_mean(y, observed, cross_spectrum, em_steps, max_factorised=0)
        assert torch.isfinite(mean).all()
        assert mean.abs().max() <= 3 * y.abs().max()


def test_draws_have_the_conditional_mean_and_covariance():
    time, draws = 12, 6000
    cross_spectrum, x = related_windows(2, time)
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
    cross_spectrum, x = related_windows(2, 30)
    observed = torch.rand(x.shape) < 0.5
    y = torch.where(observed, x, 0.0)
    first, again, other = (
        conditional_mean(y, observed, cross_spectrum, generator=torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert (first - other)[~observed].abs().mean() > 0.1


def test_only_observed_samples_matter():
    cross_spectrum, x = related_windows(3, 30)
    observed = torch.rand(x.shape) < 0.5
    means = [
        conditional_mean(torch.where(observed, x, bad), observed, cross_spectrum, em_steps=2)
        for bad in (0.0, 1e3)
    ]
    torch.testing.assert_close(*means)


def test_draws_with_em_steps_are_refused():
    cross_spectrum, x = related_windows(2, 30)
    observed = torch.rand(x.shape) < 0.5
    with pytest.raises(ValueError, match="set em_steps to 0, not 1"):
        conditional_mean(x, observed, cross_spectrum, 1, generator=torch.Generator())
