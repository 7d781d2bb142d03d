"""Interpolation and regression against dense linear algebra and numpy."""

import numpy as np
import torch

from condi_core.imputer.interpolation import linear_interpolation, same_instant_regression
from tests.helpers.toy import corrupt


def covariance_of(modalities: int) -> torch.Tensor:
    root = torch.randn(modalities, modalities, generator=torch.Generator().manual_seed(9))
    return root @ root.T / modalities + 0.1 * torch.eye(modalities)


def test_same_instant_is_the_dense_formula():
    c = covariance_of(5)
    x, observed = torch.randn(3, 5, 20), torch.rand(3, 5, 20) < 0.6
    observed[0, :, 0] = False
    observed[0, :, 1] = True
    y = torch.where(observed, x, 0.0)
    mean, variance = same_instant_regression(y, observed, c)
    d = c.double()
    for b in range(3):
        for t in range(20):
            s = observed[b, :, t]
            gain = torch.linalg.solve(d[s][:, s] + 1e-3 * torch.eye(int(s.sum())), d[s]).T
            expected = gain @ y[b, s, t].double()
            remaining = (d - gain @ d[s]).diagonal()
            assert (mean[b, :, t] - expected).abs().max() < 1e-4
            assert (variance[b, :, t] - remaining).abs().max() < 1e-4
    assert (mean[0, :, 0] == 0).all()
    torch.testing.assert_close(variance[0, :, 0], c.diagonal())
    assert variance[0, :, 1].max() < 2e-3


def test_same_instant_reads_observed_samples_only():
    c = covariance_of(3)
    x, observed = torch.randn(4, 3, 30), torch.rand(4, 3, 30) < 0.5
    mean = same_instant_regression(torch.where(observed, x, 1e3), observed, c)[0]
    torch.testing.assert_close(mean, same_instant_regression(torch.where(observed, x, 0.0), observed, c)[0])


def test_linear_interpolation_is_that_of_numpy():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, 30, generator=generator)
    share = torch.rand(40, 4, 1, generator=generator)
    observed = torch.rand(x.shape, generator=generator) < share
    observed[0, 0] = False
    observed[0, 1] = True
    observed[0, 2] = torch.arange(30) == 17
    observed[0, 3] = (torch.arange(30) == 0) | (torch.arange(30) == 29)
    filled = linear_interpolation(torch.where(observed, x, 0.0), observed)
    time = np.arange(30)
    for b in range(40):
        for m in range(4):
            s = observed[b, m].numpy()
            expected = np.interp(time, time[s], x[b, m].numpy()[s]) if s.any() else np.zeros(30)
            np.testing.assert_allclose(filled[b, m], expected, atol=1e-5)
    assert torch.equal(filled[observed], x[observed])
    assert (filled[0, 0] == 0).all()
    for bad in corrupt(x, ~observed):
        assert torch.equal(linear_interpolation(bad, observed), filled)
