"""Closed-form references against dense linear algebra and numpy."""

import numpy as np
import pytest
import torch
from toy import ar_process, rubbish

from condi_core.imputer.reference import NOISE, conditional_mean, linear_interpolation, same_instant
from condi_core.imputer.relation import SpectralRelation


def related(modalities: int, time: int, seed: int = 0) -> tuple[SpectralRelation, torch.Tensor]:
    """A relation with lags, learned from windows of a process, and some windows of it."""
    generator = torch.Generator().manual_seed(seed)
    a = 0.6 * torch.eye(modalities) + 0.3 * torch.diag(torch.ones(modalities - 1), 1)
    b = torch.randn(modalities, modalities, generator=generator) / modalities**0.5
    x = ar_process(200, time, a, b, generator)
    x = x / x.std((0, 2), keepdim=True)
    relation = SpectralRelation(range(modalities), time)
    relation.spectrum.copy_(relation.periodograms(x) / len(x))
    return relation, x[:5]


def dense(relation: SpectralRelation, time: int) -> torch.Tensor:
    """Covariance of all samples of a window, float64 `(modality, time, modality, time)`."""
    lags = torch.fft.irfft(relation.matrix().to(torch.complex128), n=relation.length, dim=0)
    apart = (torch.arange(time)[:, None] - torch.arange(time)) % relation.length
    return lags[apart].permute(2, 0, 3, 1)


def dense_conditional(relation, x, seen) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance, over modality × time, of one window given what is seen of it."""
    m, time = x.shape
    c = dense(relation, time).reshape(m * time, m * time)
    s = seen.flatten()
    gain = torch.linalg.solve(c[s][:, s] + NOISE * torch.eye(int(s.sum())), c[s]).T
    return (gain @ x.flatten()[s].double()).view(m, time), c - gain @ c[s]


@pytest.mark.parametrize("time", [24, 25, 40])
@pytest.mark.parametrize("holes", ["points", "gap", "absent", "few"])
def test_conditional_mean_is_that_of_the_dense_gaussian(time, holes):
    relation, x = related(3, time)
    seen = torch.rand(x.shape) < 0.5
    if holes == "gap":
        seen[:] = True
        seen[:, 1, 5:17] = False
    elif holes == "absent":
        seen[:, 2] = False
    elif holes == "few":
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
        for n in (0, 6, 12, 24)
    ]
    assert all(later < 0.65 * earlier for earlier, later in zip(errors, errors[1:], strict=False))
    assert errors[2] < 0.15
    assert errors[3] < 0.03


def test_conditional_mean_is_the_same_from_every_start():
    relation, x = related(2, 30)
    seen = torch.rand(x.shape) < 0.4
    y = torch.where(seen, x, 0.0)
    found = [conditional_mean(y, seen, relation, 200, start=s) for s in (None, torch.zeros_like(y), y + 3)]
    torch.testing.assert_close(found[1], found[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(found[2], found[0], atol=1e-3, rtol=0)


def test_conditional_mean_of_a_window_does_not_depend_on_the_others():
    relation, x = related(3, 40)
    seen = torch.rand(x.shape) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None]
    y = torch.where(seen, x, 0.0)
    together = conditional_mean(y, seen, relation)
    alone = torch.cat([conditional_mean(y[i : i + 1], seen[i : i + 1], relation) for i in range(len(y))])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


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
        sample=torch.Generator().manual_seed(0),
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
        conditional_mean(y, seen, relation, sample=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert (first - other)[~seen].abs().mean() > 0.1


def covariance_of(modalities: int) -> torch.Tensor:
    root = torch.randn(modalities, modalities, generator=torch.Generator().manual_seed(9))
    return root @ root.T / modalities + 0.1 * torch.eye(modalities)


def test_same_instant_is_the_dense_formula():
    c = covariance_of(5)
    x, seen = torch.randn(3, 5, 20), torch.rand(3, 5, 20) < 0.6
    seen[0, :, 0] = False
    seen[0, :, 1] = True
    y = torch.where(seen, x, 0.0)
    mean, variance = same_instant(y, seen, c, noise=1e-3)
    d = c.double()
    for b in range(3):
        for t in range(20):
            s = seen[b, :, t]
            gain = torch.linalg.solve(d[s][:, s] + 1e-3 * torch.eye(int(s.sum())), d[s]).T
            expected = gain @ y[b, s, t].double()
            left = (d - gain @ d[s]).diagonal()
            assert (mean[b, :, t] - expected).abs().max() < 1e-4
            assert (variance[b, :, t] - left).abs().max() < 1e-4
    assert (mean[0, :, 0] == 0).all()
    torch.testing.assert_close(variance[0, :, 0], c.diagonal())
    assert variance[0, :, 1].max() < 2e-3


def test_same_instant_and_conditional_mean_read_seen_samples_only():
    """By contract unseen samples arrive as zeros; finite ones that are not must not matter either."""
    relation, x = related(3, 30)
    seen = torch.rand(x.shape) < 0.5
    y = torch.where(seen, x, 0.0)
    other = torch.where(seen, x, 1e3)
    torch.testing.assert_close(
        same_instant(other, seen, relation.covariance())[0], same_instant(y, seen, relation.covariance())[0]
    )
    torch.testing.assert_close(conditional_mean(other, seen, relation), conditional_mean(y, seen, relation))


def test_linear_interpolation_is_that_of_numpy():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, 30, generator=generator)
    share = torch.rand(40, 4, 1, generator=generator)
    seen = torch.rand(x.shape, generator=generator) < share
    seen[0, 0] = False
    seen[0, 1] = True
    seen[0, 2] = torch.arange(30) == 17
    seen[0, 3] = (torch.arange(30) == 0) | (torch.arange(30) == 29)
    filled = linear_interpolation(torch.where(seen, x, 0.0), seen)
    time = np.arange(30)
    for b in range(40):
        for m in range(4):
            s = seen[b, m].numpy()
            expected = np.interp(time, time[s], x[b, m].numpy()[s]) if s.any() else np.zeros(30)
            np.testing.assert_allclose(filled[b, m], expected, atol=1e-5)
    assert torch.equal(filled[seen], x[seen])
    assert (filled[0, 0] == 0).all()
    for bad in rubbish(x, ~seen):
        assert torch.equal(linear_interpolation(bad, seen), filled)
