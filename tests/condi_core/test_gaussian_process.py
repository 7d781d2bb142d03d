"""The conditional mean and draws against dense linear algebra; adaptation to single windows."""

import pytest
import torch

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.gaussian_process import (
    NOISE_VARIANCE,
    PRIOR_WEIGHT,
    StationaryPrior,
    WindowCovariance,
    conditional_mean,
)
from tests.helpers.toy import ar_process


def related(modalities: int, time: int, seed: int = 0) -> tuple[CrossSpectrum, torch.Tensor]:
    """A relation with lags, learned from windows of a process, and some windows of it."""
    generator = torch.Generator().manual_seed(seed)
    a = 0.6 * torch.eye(modalities) + 0.3 * torch.diag(torch.ones(modalities - 1), 1)
    b = torch.randn(modalities, modalities, generator=generator) / modalities**0.5
    x = ar_process(200, time, a, b, generator)
    x = x / x.std((0, 2), keepdim=True)
    relation = CrossSpectrum(range(modalities), time)
    relation.spectrum.copy_(relation.sum_periodograms(x) / len(x))
    return relation, x[:5]


def dense(relation: CrossSpectrum, time: int) -> torch.Tensor:
    """Covariance of all samples of a window, float64 `(modality, time, modality, time)`."""
    lags = torch.fft.irfft(relation.matrix().to(torch.complex128), n=relation.fft_length, dim=0)
    apart = (torch.arange(time)[:, None] - torch.arange(time)) % relation.fft_length
    return lags[apart].permute(2, 0, 3, 1)


def dense_conditional(relation, x, seen) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance, over modality × time, of one window given what is seen of it."""
    m, time = x.shape
    c = dense(relation, time).reshape(m * time, m * time)
    s = seen.flatten()
    gain = torch.linalg.solve(c[s][:, s] + NOISE_VARIANCE * torch.eye(int(s.sum())), c[s]).T
    return (gain @ x.flatten()[s].double()).view(m, time), c - gain @ c[s]


@pytest.mark.parametrize("time", [24, 25, 40])
@pytest.mark.parametrize("missingness", ["points", "gap", "absent", "few"])
def test_conditional_mean_is_that_of_the_dense_gaussian(time, missingness):
    relation, x = related(3, time)
    seen = torch.rand(x.shape) < 0.5
    if missingness == "gap":
        seen[:] = True
        seen[:, 1, 5:17] = False
    elif missingness == "absent":
        seen[:, 2] = False
    elif missingness == "few":
        seen[:] = False
        seen[:, 0, 3] = seen[:, 1, 20] = True
    y = torch.where(seen, x, 0.0)
    found = conditional_mean(y, seen, relation, iterations=150)
    for i in range(len(x)):
        expected, _ = dense_conditional(relation, x[i], seen[i])
        assert (found[i] - expected).abs().max() < 1e-3
        assert expected.abs().max() > 0.1


def test_few_iterations_come_close_and_more_come_closer():
    relation, x = related(3, 60)
    seen = torch.rand(x.shape) < 0.5
    y = torch.where(seen, x, 0.0)
    exact = conditional_mean(y, seen, relation, iterations=200)
    errors = [
        (conditional_mean(y, seen, relation, iterations=n) - exact).square().mean().sqrt()
        for n in (0, 5, 10, 20)
    ]
    assert all(later < 0.65 * earlier for earlier, later in zip(errors, errors[1:], strict=False))
    assert errors[2] < 0.15
    assert errors[3] < 0.03


def test_conditional_mean_of_a_window_does_not_mechanism_the_others():
    relation, x = related(3, 40)
    seen = torch.rand(x.shape) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None]
    y = torch.where(seen, x, 0.0)
    together = conditional_mean(y, seen, relation)
    alone = torch.cat([conditional_mean(y[i : i + 1], seen[i : i + 1], relation) for i in range(len(y))])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)


def test_nothing_seen_gives_the_mean():
    relation, x = related(2, 30)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    assert (conditional_mean(torch.zeros_like(x), nothing, relation) == 0).all()


def test_draws_have_the_conditional_mean_and_covariance():
    time, draws = 12, 6000
    relation, x = related(2, time)
    seen = torch.rand(2, time, generator=torch.Generator().manual_seed(5)) < 0.4
    mean, covariance = dense_conditional(relation, x[0], seen)
    many = torch.where(seen, x[0], 0.0).expand(draws, -1, -1)
    drawn = conditional_mean(
        many,
        seen.expand(draws, -1, -1),
        relation,
        iterations=40,
        generator=torch.Generator().manual_seed(0),
    )
    deviation = covariance.diagonal().sqrt().view(2, time)
    assert ((drawn.mean(0) - mean) / deviation).abs().max() < 5 / draws**0.5
    assert (drawn.std(0) / deviation - 1).abs().max() < 5 / (2 * draws) ** 0.5
    found = torch.cov(drawn.flatten(1).T)
    assert (found - covariance).abs().max() < 0.06
    assert covariance.abs().max() > 0.3


def test_draws_are_those_of_the_generator():
    relation, x = related(2, 30)
    seen = torch.rand(x.shape) < 0.5
    y = torch.where(seen, x, 0.0)
    first, again, other = (
        conditional_mean(y, seen, relation, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert (first - other)[~seen].abs().mean() > 0.1


def test_only_seen_samples_matter():
    relation, x = related(3, 30)
    seen = torch.rand(x.shape) < 0.5
    found = [conditional_mean(torch.where(seen, x, bad), seen, relation, em_steps=2) for bad in (0.0, 1e3)]
    torch.testing.assert_close(*found)


# Adaptation to the window itself.


def test_coordinates_and_window_are_each_others_adjoint():
    """<window(u), x> = <u, adjoint(x)> over the whole circle of frequencies."""
    relation, x = related(3, 40)
    x = x.permute(2, 1, 0)
    population = StationaryPrior(relation, 40)
    u = population.to_spectrum(torch.randn(relation.fft_length, 3, 5))
    weight = torch.full((len(u),), 2.0)
    weight[0] = weight[-1] = 1.0  # the length is even
    there = (population.to_window(u) * x).sum()
    back = ((u.conj() * population.apply_adjoint(x)).real.sum((1, 2)) * weight).sum()
    torch.testing.assert_close(there, back, rtol=1e-4, atol=1e-3)


def test_with_everything_seen_a_step_of_em_is_the_formula():
    """K = (weight + sum of u uᴴ) / (weight + frequencies) in each band, as nothing is left uncertain."""
    relation, x = related(3, 200)
    population = StationaryPrior(relation, 200)
    u = population.to_spectrum(torch.randn(relation.fft_length, 3, 2))
    seen = torch.ones(relation.fft_length, 3, 2)  # beyond the window too, for once
    penalty = WindowCovariance(population).em_step(u, seen, 1e-9).apply_precision(u)
    for a, b in population.bands:
        for i in range(2):
            own = u[a:b, :, i]
            k = (PRIOR_WEIGHT * 3 * torch.eye(3) + own.T @ own.conj()) / (PRIOR_WEIGHT * 3 + b - a)
            expected = torch.linalg.solve(k, own.T).T
            torch.testing.assert_close(penalty[a:b, :, i], expected, rtol=1e-3, atol=1e-3)


def test_where_nothing_is_seen_a_window_does_not_depart():
    relation, _ = related(3, 40)
    population = StationaryPrior(relation, 40)
    u = population.to_spectrum(torch.randn(relation.fft_length, 3, 2))
    nothing = WindowCovariance(population).em_step(0 * u, torch.zeros(40, 3, 2), NOISE_VARIANCE)
    torch.testing.assert_close(nothing.apply_precision(u), u, rtol=1e-4, atol=1e-4)


def test_a_window_of_its_own_kind_is_completed_better_by_adaptation():
    """Leads are mixed otherwise in this patient than in the population."""
    generator = torch.Generator().manual_seed(3)
    time, draws = 400, 60
    a = 0.9 * torch.eye(3)
    population = torch.randn(3, 3, generator=generator)
    x = ar_process(draws, time, a, population, generator)
    scale = x.std((0, 2), keepdim=True)
    relation = CrossSpectrum(range(3), time)
    relation.spectrum.copy_(relation.sum_periodograms(x / scale) / draws)
    own = ar_process(20, time, a, torch.randn(3, 1, generator=generator), generator)
    own = own / own.std((0, 2), keepdim=True)
    seen = torch.rand(own.shape, generator=generator) < 0.4
    y = torch.where(seen, own, 0.0)
    errors = [
        (conditional_mean(y, seen, relation, em_steps=n) - own)[~seen].square().mean().sqrt()
        for n in (0, 1, 3)
    ]
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] < 0.8 * errors[0]


def test_adaptation_begins_with_the_power_of_the_window():
    """A louder record is completed as the same record at its usual size."""
    relation, x = related(3, 400)
    seen = torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) < 0.5
    usual, loud = (conditional_mean(torch.where(seen, k * x, 0.0), seen, relation, 3) / k for k in (1, 20))
    assert (loud - usual)[~seen].square().mean().sqrt() < 0.05 * usual[~seen].square().mean().sqrt()


def test_a_window_like_all_others_loses_nothing_by_adaptation():
    relation, _ = related(3, 200)
    generator = torch.Generator().manual_seed(4)
    white = torch.randn(relation.fft_length, 3, 40, generator=generator)
    population = StationaryPrior(relation, 200)
    x = population.to_window(population.to_spectrum(white)).permute(2, 1, 0)
    x = x + NOISE_VARIANCE**0.5 * torch.randn(x.shape, generator=generator)
    seen = torch.rand(x.shape, generator=generator) < 0.5
    y = torch.where(seen, x, 0.0)
    exact, adapted = (
        (conditional_mean(y, seen, relation, em_steps=n, iterations=60) - x)[~seen].square().mean().sqrt()
        for n in (0, 3)
    )
    assert exact < adapted < 1.05 * exact


@pytest.mark.parametrize("time", [1, 2, 3, 7, 48])
def test_short_windows_have_fewer_bands(time):
    relation, x = related(2, max(time, 2))
    relation = CrossSpectrum(range(2), time)
    x = x[..., :time]
    seen = torch.rand(x.shape) < 0.7
    bands = StationaryPrior(relation, time).bands
    assert bands[0][0] == 0 and bands[-1][1] == relation.fft_length // 2 + 1
    assert all(a < b for a, b in bands) and all(
        b == c for (_, b), (c, _) in zip(bands, bands[1:], strict=False)
    )
    assert torch.isfinite(conditional_mean(torch.where(seen, x, 0.0), seen, relation, em_steps=3)).all()


def test_draws_do_not_adapt():
    relation, x = related(2, 30)
    seen = torch.rand(x.shape) < 0.5
    with pytest.raises(ValueError, match="set em_steps to 0, not 1"):
        conditional_mean(x, seen, relation, 1, generator=torch.Generator())
