"""The conditional mean of windows with few observed samples, from the covariance of these samples alone.

The matrix of all observed samples of a window is gathered from the autocovariance and factorised (Cholesky).
That is exact, and for some hundred samples it takes less time than a few steps of an iterative method on the
whole grid. Windows are factorised together, which suits a GPU; smaller ones are padded with the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condi_core.imputer.cross_spectrum import CrossSpectrum

MAX_SAMPLES = 512  # observed samples of a window beyond which a factorisation takes longer than iterations
WINDOWS_PER_CPU_BLOCK = 4  # that are padded to the same number of samples; a GPU takes all at once


def factorised_mean(
    x: Tensor, conditioning: Tensor, cross_spectrum: CrossSpectrum, noise_variance: float
) -> Tensor:
    """Estimate every sample given all observed samples, exactly.

    Parameters
    ----------
    x : Tensor (batch, modality, time), standardised
    conditioning : Tensor of the same shape, bool: the observed samples
    cross_spectrum : S of these modalities
    noise_variance : variance of the measurement noise

    Returns
    -------
    Tensor (batch, modality, time)
    """
    counts, size = conditioning.flatten(1).sum(1), len(x) if x.is_cuda else WINDOWS_PER_CPU_BLOCK
    weights = torch.zeros_like(x)
    # Windows of about as many samples share a block, so that little is padded.
    for windows in counts.argsort(stable=True).split(size):
        weights[windows] = _solve(
            x[windows], conditioning[windows], counts[windows], cross_spectrum, noise_variance
        )
    n, matrix = cross_spectrum.fft_length, cross_spectrum.matrix()
    spectrum = torch.bmm(matrix, torch.fft.rfft(weights, n=n).permute(2, 1, 0))
    return torch.fft.irfft(spectrum.permute(2, 1, 0), n=n)[..., : x.shape[-1]]


def _solve(
    x: Tensor, conditioning: Tensor, counts: Tensor, cross_spectrum: CrossSpectrum, noise_variance: float
) -> Tensor:
    """Return what multiplies the covariance with the observed samples, 0 elsewhere, in the shape of `x`."""
    covariances, (modalities, lags) = cross_spectrum.autocovariance(), (x.shape[1], cross_spectrum.fft_length)
    samples = int(counts.max())
    positions = (
        conditioning.flatten(1).to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :samples]
    )
    is_observed = torch.arange(samples, device=x.device) < counts[:, None]
    modality, time = positions // x.shape[-1], positions % x.shape[-1]
    # The row of (i, j, l) in the flat autocovariance is linear in what belongs to each of the two samples.
    lag = (time[:, :, None] - time[:, None, :]) % lags
    rows = (modality * (modalities * lags))[:, :, None] + (modality * lags)[:, None, :] + lag
    covariance = covariances.flatten()[rows]
    covariance = covariance * (is_observed[:, :, None] & is_observed[:, None, :])
    covariance.diagonal(dim1=1, dim2=2).add_(torch.where(is_observed, noise_variance, 1.0))
    y = x.flatten(1).gather(1, positions) * is_observed
    solution = torch.cholesky_solve(y[:, :, None], torch.linalg.cholesky(covariance)).squeeze(2)
    return torch.zeros_like(x).flatten(1).scatter(1, positions, solution * is_observed).view_as(x)
