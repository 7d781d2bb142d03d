"""The cross-spectrum: periodograms, the matrix they give, and EM on incomplete windows."""

import pytest
import torch

from condi_core.imputer.cross_spectrum import (
    EIGENVALUE_FLOOR,
    SEGMENT_SAMPLES,
    CrossSpectrum,
    _next_fast_length,
)
from tests.helpers.toy import ar_process, run_em


def correlated(windows: int, time: int, generator: torch.Generator) -> torch.Tensor:
    """Generate white noise, the same noise two samples later and weaker, and a slow independent modality."""
    e = torch.randn(windows, 2, time + 20, generator=generator)
    slow = e[:, 1].unfold(-1, 8, 1).mean(-1)[:, :time]
    return torch.stack([e[:, 0, 10 : time + 10], 0.6 * e[:, 0, 8 : time + 8], slow], 1)


def fitted(x: torch.Tensor) -> CrossSpectrum:
    cross_spectrum = CrossSpectrum(range(x.shape[1]), x.shape[2])
    cross_spectrum.spectrum.copy_(cross_spectrum.sum_periodograms(x) / len(x))
    return cross_spectrum


@pytest.mark.parametrize("timeline", [48, 60, 256, 1000])
def test_white_noise_has_a_periodogram_of_one(timeline):
    cross_spectrum = CrossSpectrum(range(2), timeline)
    x = torch.randn(400, 2, timeline)
    s = cross_spectrum.sum_periodograms(x) / 400
    bins = min(timeline, SEGMENT_SAMPLES) // 2 + 1
    assert s.shape == (2, 2, bins, 2)
    # A periodogram of white noise has a standard deviation of 1, and of √2 at both ends of the spectrum. The
    # mean over frequencies and windows is far closer to 1, each frequency within five standard deviations.
    assert s[0, 0, :, 0].mean().item() == pytest.approx(1, abs=5 / (400 * bins / 4) ** 0.5)
    assert (s[[0, 1], [0, 1], :, 0] - 1).abs().max() < 5 * (2 / 400) ** 0.5
    assert s[0, 1].abs().max() < 5 * (2 / 400) ** 0.5
    assert s[[0, 1], [0, 1], :, 1].abs().max() < 1e-6  # not exactly 0 on processors that fuse products


def test_a_periodogram_has_the_frequency_and_the_phase_of_its_wave():
    time = torch.arange(64)
    # 10 cycles in 64 samples; the second is a quarter of a cycle behind the first.
    angle = 2 * torch.pi * 10 / 64 * time
    cross_spectrum = CrossSpectrum(range(2), 64)
    s = torch.view_as_complex(cross_spectrum.sum_periodograms(torch.stack([angle.cos(), angle.sin()])[None]))
    assert s[0, 0].real.argmax() == 10
    assert s[0, 1, 10].angle().item() == pytest.approx(torch.pi / 2, abs=1e-3)
    assert s[1, 0, 10].angle().item() == pytest.approx(-torch.pi / 2, abs=1e-3)


def test_sums_of_two_sites_are_those_of_their_pool():
    x = correlated(30, 300, torch.Generator().manual_seed(0)).double()
    cross_spectrum = CrossSpectrum(range(3), 300)
    parts = cross_spectrum.sum_periodograms(x[:11]) + cross_spectrum.sum_periodograms(x[11:])
    torch.testing.assert_close(parts, cross_spectrum.sum_periodograms(x), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("timeline", [60, 61, 700])
def test_covariance_is_that_of_the_windows(timeline):
    x = correlated(500, timeline, torch.Generator().manual_seed(1))
    sample = torch.cov(x.transpose(0, 1).flatten(1))
    assert (fitted(x).covariance() - sample).abs().max() < 0.05
    assert sample[0, 0] > 0.9  # the reference is not trivial


@pytest.mark.parametrize("timeline", [48, 45])
def test_covariance_is_the_transform_of_the_spectrum_at_no_lag(timeline):
    cross_spectrum = CrossSpectrum(range(1), timeline)
    spectrum = torch.linspace(0, 3, timeline // 2 + 1)  # most power is at the upper end
    cross_spectrum.spectrum[0, 0, :, 0] = spectrum
    expected = torch.fft.irfft(spectrum, n=timeline)[0].item()
    assert cross_spectrum.covariance().item() == pytest.approx(expected, rel=1e-5)


def test_matrix_is_hermitian_positive_and_floored():
    x = correlated(50, 200, torch.Generator().manual_seed(2))
    x = torch.cat([x, x[:, :1] - x[:, 1:2]], 1)  # singular: one modality follows from two others
    cross_spectrum = fitted(x)
    s = cross_spectrum.matrix()
    assert s.shape == (cross_spectrum.fft_length // 2 + 1, 4, 4)
    assert s.is_complex()
    torch.testing.assert_close(s, s.mH, atol=1e-6, rtol=0)
    mean = s.diagonal(dim1=1, dim2=2).real.mean()
    smallest = torch.linalg.eigvalsh(s).min()
    assert smallest > 0.9 * EIGENVALUE_FLOOR * mean
    assert smallest < 1.1 * EIGENVALUE_FLOOR * mean


def test_an_average_that_is_not_positive_definite_is_made_so():
    # Pairs that are averaged over different sites need not be consistent: no three signals have two
    # correlations of +0.95 and one of -0.95.
    cross_spectrum = CrossSpectrum(range(3), 64)
    prior = cross_spectrum.spectrum[0, 0, :, 0].clone()
    for a, b, sign in ((0, 1, 1), (1, 2, 1), (0, 2, -1)):
        cross_spectrum.spectrum[a, b, :, 0] = cross_spectrum.spectrum[b, a, :, 0] = 0.95 * sign * prior
    values, vectors = cross_spectrum.eigendecomposition()
    assert torch.linalg.eigvalsh(cross_spectrum.spectrum[..., 0].mean(-1)).min() < -0.5
    assert values.min() > 0
    assert torch.linalg.eigvalsh(cross_spectrum.covariance()).min() > 0
    identity = torch.eye(3).to(vectors.dtype).expand_as(vectors)
    torch.testing.assert_close(vectors @ vectors.mH, identity, atol=1e-5, rtol=0)


def test_matrix_has_the_spectrum_of_the_process():
    """A lag of two samples is a phase that grows with the frequency."""
    x = correlated(2000, 128, torch.Generator().manual_seed(3))
    cross_spectrum = fitted(x)
    s = cross_spectrum.matrix()
    f = torch.arange(cross_spectrum.fft_length // 2 + 1) / cross_spectrum.fft_length
    expected = 0.6 * torch.exp(2j * torch.pi * f * 2)
    assert (s[:, 0, 1] - expected)[3:-3].abs().max() < 0.15
    assert (s[:, 0, 0].real - 1).abs().mean() < 0.03


def test_the_initial_spectrum_is_red_with_independent_modalities_of_variance_one():
    for timeline in (1, 2, 45, 48, 1000):
        cross_spectrum = CrossSpectrum(range(3), timeline)
        torch.testing.assert_close(cross_spectrum.covariance(), torch.eye(3), atol=1e-5, rtol=0)
    prior = cross_spectrum.spectrum[0, 0, :, 0]
    assert (prior.diff() < 0).all()
    assert prior[0] > 10 * prior[-1]


@pytest.mark.parametrize("timeline", [1, 2, 45, 48, 60, 250, 1000, 3000])
def test_the_transform_extends_beyond_the_window(timeline):
    cross_spectrum = CrossSpectrum(range(1), timeline)
    assert cross_spectrum.segment == min(SEGMENT_SAMPLES, timeline)
    assert cross_spectrum.fft_length >= timeline + cross_spectrum.segment
    assert cross_spectrum.fft_length < 1.1 * (timeline + cross_spectrum.segment) + 2
    assert cross_spectrum.fft_length % 2 == 0


def test_initial_covariance_is_over_samples_observed_together():
    generator = torch.Generator().manual_seed(4)
    x = correlated(20, 60, generator)
    observed = torch.rand(x.shape, generator=generator) < 0.5
    observed[:, 2] &= ~observed[:, 1]  # never observed together
    x = torch.where(observed, x, 0.0)
    cross_spectrum = CrossSpectrum(range(3), 60)
    spectrum, counts = cross_spectrum.initial_covariance(x, observed)
    cross_spectrum.spectrum.copy_(spectrum)
    for i in range(3):
        for j in range(3):
            both = observed[:, i] & observed[:, j]
            assert counts[i, j] == both.sum()
            expected = (x[:, i] * x[:, j])[both].sum() / max(int(both.sum()), 1)
            assert spectrum[i, j, :, 0].mean() == pytest.approx(
                expected.item() * cross_spectrum.prior_spectrum.mean().item(), abs=1e-5
            )
    assert counts[1, 2] == 0 and (spectrum[1, 2] == 0).all()
    assert (spectrum[..., 1] == 0).all()
    torch.testing.assert_close(
        cross_spectrum.covariance()[0, 1], (x[:, 0] * x[:, 1]).sum() / counts[0, 1].float()
    )
    # The covariances of two sites, averaged per pair, are those of their pool.
    parts = [cross_spectrum.initial_covariance(x[s], observed[s]) for s in (slice(0, 7), slice(7, 20))]
    total = sum(s * c[:, :, None, None] for s, c in parts)
    average = total / sum(c for _, c in parts).clamp(min=1)[:, :, None, None]
    torch.testing.assert_close(average.float(), spectrum, atol=1e-5, rtol=1e-4)


AR = torch.tensor([[0.8, 0.1], [0.0, 0.85]])
MIXING = torch.tensor([[0.5, 0.2], [0.3, 0.3]])


def true_covariance() -> torch.Tensor:
    c = MIXING @ MIXING.T
    for _ in range(200):
        c = AR @ c @ AR.T + MIXING @ MIXING.T
    return c


def test_em_recovers_the_covariance_of_a_process_with_half_of_the_samples_missing():
    generator = torch.Generator().manual_seed(0)
    truth = true_covariance()
    scale = truth.diagonal().sqrt()
    truth = truth / scale[:, None] / scale
    x = ar_process(300, 64, AR, MIXING, generator) / scale[:, None]
    observed = torch.rand(x.shape, generator=generator) < 0.5
    cross_spectrum = CrossSpectrum(range(2), 64)
    run_em(cross_spectrum, x, observed, 8, generator)
    error = (cross_spectrum.covariance() - truth).abs().max()
    naive = (fitted(torch.where(observed, x, 0.0)).covariance() - truth).abs().max()
    assert naive > 0.4
    assert error < 0.1
    # The spectrum at all lags is close to that of complete windows too.
    complete, estimated = fitted(x).matrix(), cross_spectrum.matrix()
    assert (estimated - complete).abs().mean() < 0.12 * complete.abs().mean()


def test_two_modalities_never_observed_together_are_related_through_a_third():
    generator = torch.Generator().manual_seed(0)
    cause = ar_process(240, 64, torch.tensor([[0.8]]), torch.tensor([[0.6]]), generator)
    noise = torch.randn(240, 3, 64, generator=generator)
    x = 0.95 * cause * torch.tensor([1.0, 1.0, -1.0])[:, None] + 0.3 * noise
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[:120, 2] = False  # one site has the first two modalities
    observed[120:, 0] = False  # the other site has the last two
    cross_spectrum = CrossSpectrum(range(3), 64)
    run_em(cross_spectrum, x, observed, 12, generator)
    c = cross_spectrum.covariance()
    correlation = c / c.diagonal().sqrt()[:, None] / c.diagonal().sqrt()
    assert correlation[0, 1] > 0.75
    assert correlation[0, 2] < -0.6
    assert torch.corrcoef(x.transpose(0, 1).flatten(1))[0, 2] < -0.8  # the true correlation


# Short windows, which have fewer than two frequencies per modality.


def levels(windows: int, time: int, generator: torch.Generator) -> torch.Tensor:
    """Draw six modalities of one level each in the whole window, with noise of a third of its power."""
    level = torch.randn(windows, 6, 1, generator=generator)
    noise = torch.randn(windows, 6, time, generator=generator)
    return 0.75**0.5 * level + 0.5 * noise


def test_a_level_that_persists_is_as_related_at_the_longest_lags_as_at_the_shortest():
    cross_spectrum = fitted(levels(3000, 20, torch.Generator().manual_seed(4)))
    assert cross_spectrum.is_short
    covariance = cross_spectrum.autocovariance()
    assert covariance[0, 0, 0].item() == pytest.approx(1, abs=0.05)
    assert (covariance[range(6), range(6), 1:20] - 0.75).abs().max() < 0.06
    assert covariance[0, 1].abs().max() < 0.06


def test_a_level_that_is_measured_rarely_is_learned_by_em():
    """Two samples of twenty: pairs at all lags are few, and a spectrum that starts white stays so."""
    generator = torch.Generator().manual_seed(5)
    x = levels(400, 20, generator)
    observed = torch.rand(x.shape, generator=generator) < 0.1
    cross_spectrum = CrossSpectrum(range(6), 20)
    run_em(cross_spectrum, torch.where(observed, x, 0.0), observed, 12, generator)
    covariance = cross_spectrum.autocovariance()
    assert (covariance[range(6), range(6), 10] - 0.75).abs().mean() < 0.15


def test_sums_of_short_windows_add_up_to_those_of_their_pool():
    x = levels(30, 20, torch.Generator().manual_seed(6)).double()
    cross_spectrum = CrossSpectrum(range(6), 20)
    parts = cross_spectrum.sum_periodograms(x[:11]) + cross_spectrum.sum_periodograms(x[11:])
    torch.testing.assert_close(parts, cross_spectrum.sum_periodograms(x), rtol=1e-12, atol=1e-10)


def test_results_follow_a_spectrum_that_changes():
    cross_spectrum = CrossSpectrum(range(2), 60)
    before = cross_spectrum.covariance()
    cross_spectrum.spectrum.mul_(2)
    torch.testing.assert_close(cross_spectrum.covariance(), 2 * before)
    cross_spectrum.load_state_dict({"spectrum": 3 * cross_spectrum.spectrum})
    torch.testing.assert_close(cross_spectrum.covariance(), 6 * before)


@pytest.mark.parametrize("n, length", [(1, 2), (7, 8), (257, 270), (2 * 3**5 * 5, 2430), (10**14, 10**14)])
def test_windows_are_padded_to_a_length_that_is_fast_to_transform(n, length):
    assert _next_fast_length(n) == length
