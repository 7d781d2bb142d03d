"""The relation between modalities of one rate from bounded contributions of patients, released once.

A patient contributes a vector: the second moments of standardised samples at the same instant, the shares of
instants at which both modalities were observed, and the logarithms of the mean power spectrum in bands. Sums
of clipped vectors with noise give a covariance and a spectrum, and the cross-spectrum is their product.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from condi_core.imputer.cross_spectrum import CrossSpectrum, mean_over_circle

NUM_BANDS = 16  # of the power spectrum, narrow at low frequencies
SHARE_WEIGHT = 0.25  # of shares in a contribution: they have a low rank, which removes much of their noise
SPECTRUM_WEIGHT = 0.25  # of log powers in a contribution
MAX_LOG_RATIO = 4.0  # of a band's power to that of the prior spectrum
SPECTRUM_NORM = 1.5  # clipping norm of log powers
MAX_RELEASED_VARIANCE = 50.0  # of a standardised modality


def clipping_norms(modalities: int, rates: int) -> tuple[float, float]:
    """Return the norms to which a patient's moments with shares, and log powers, are clipped.

    They are constants, because norms that depend on the data would disclose something of them. Second moments
    of standardised modalities have a norm of at least √m. Clipping scales moments and shares by one factor,
    which leaves a covariance as it is, so that the norms may be those that most patients exceed.
    """
    return math.sqrt(modalities), SPECTRUM_NORM * math.sqrt(rates)


def num_moments(modalities: int) -> int:
    """Return the number of moments and shares of modalities of one rate."""
    return modalities * (modalities + 1)


def split_contribution(contribution: Tensor) -> tuple[Tensor, Tensor]:
    """Split a contribution (..., entry) into moments with shares, and log powers."""
    return contribution[..., :-NUM_BANDS], contribution[..., -NUM_BANDS:]


class ReleasedRelation(NamedTuple):
    """What a noisy sum says of one cross-spectrum.

    Attributes
    ----------
    spectrum : Tensor (modality, modality, frequency, 2), not yet positive definite
    shares : Tensor (modality, modality), by which it is weighted in the average over sites; 0: unknown
    """

    spectrum: Tensor
    shares: Tensor


def compute_contributions(cross_spectrum: CrossSpectrum, x: Tensor, observed: Tensor) -> Tensor:
    """Compute what windows contribute, before clipping.

    Parameters
    ----------
    cross_spectrum : of the modalities, with the prior spectrum
    x, observed : Tensor (window, modality, time), standardised

    Returns
    -------
    Tensor (window, entry), float64
    """
    mask = observed.double()
    # Seldom observed modalities count more, so that noise does not hide them. The same weights in moments and
    # shares cancel.
    weight = mask.mean(-1, keepdim=True).clamp(min=1 / mask.shape[-1]) ** -0.25
    weighted, shares = x.double() * mask * weight, mask * weight
    moments = torch.einsum("bit,bjt->bij", weighted, weighted) / mask.shape[-1]
    both = torch.einsum("bit,bjt->bij", shares, shares) / mask.shape[-1]
    spectrum = _log_ratios(cross_spectrum, x.double() * mask, mask)
    return torch.cat([_pack(moments), SHARE_WEIGHT * _pack(both), SPECTRUM_WEIGHT * spectrum], 1)


def release_relation(
    cross_spectrum: CrossSpectrum, mean: Tensor, deviation: float, present: Tensor
) -> ReleasedRelation:
    """Turn the noisy mean of contributions into a cross-spectrum.

    Parameters
    ----------
    cross_spectrum : of the modalities
    mean : Tensor (entry,), the mean over patients with noise
    deviation : standard deviation of the noise in each entry of the mean
    present : bool Tensor (modality,), which modalities the site has
    """
    m = len(present)
    pairs = m * (m + 1) // 2
    moments, both, ratios = mean.split([pairs, pairs, NUM_BANDS])
    noise = deviation / SHARE_WEIGHT
    shares = _remove_noise(_unpack(both / SHARE_WEIGHT, m), noise)
    known = (shares > 2 * noise / math.sqrt(m)) & present & present[:, None]
    covariance = torch.where(known, _unpack(moments, m) / shares.clamp(min=1e-6), 0.0)
    shares = torch.where(known, shares, 0.0)
    variance = covariance.diagonal().clamp(1e-3, MAX_RELEASED_VARIANCE)
    limit = (variance * variance[:, None]).sqrt()  # no covariance is larger
    covariance = covariance.clamp(-limit, limit)
    covariance.diagonal().copy_(variance)
    edges = _band_edges(cross_spectrum)
    shape = cross_spectrum.prior_spectrum.double() * _interpolate(ratios / SPECTRUM_WEIGHT, edges).exp()
    shape = shape / mean_over_circle(shape, cross_spectrum.circle)
    real = covariance[:, :, None] * shape
    return ReleasedRelation(torch.stack([real, torch.zeros_like(real)], -1).float(), shares)


def floor_at_noise(spectrum: np.ndarray) -> np.ndarray:
    """Raise the eigenvalues of a cross-spectrum that noise may have made up, at each frequency.

    A covariance has no negative eigenvalue. The most negative one is as large as noise makes them, and those
    below its magnitude are raised to it. A spectrum that is positive semidefinite stays as it is.

    Parameters
    ----------
    spectrum : float array (modality, modality, frequency, 2)
    """
    matrix = (spectrum[..., 0].astype(np.float64) + 1j * spectrum[..., 1]).transpose(2, 0, 1)
    values, vectors = np.linalg.eigh((matrix + matrix.conj().swapaxes(1, 2)) / 2)
    edge = np.maximum(-values[:, :1], 0)
    floored = (vectors * np.maximum(values, edge)[:, None, :]) @ vectors.conj().swapaxes(1, 2)
    result = np.where(edge[:, :, None] > 0, floored, matrix).transpose(1, 2, 0)
    return np.stack([result.real, result.imag], -1).astype(spectrum.dtype)


def _pack(matrices: Tensor) -> Tensor:
    """Flatten symmetric matrices (window, m, m) so that their norm stays the same."""
    i, j = torch.triu_indices(*matrices.shape[1:])
    return matrices[:, i, j] * torch.where(i == j, 1.0, math.sqrt(2)).double()


def _unpack(packed: Tensor, m: int) -> Tensor:
    i, j = torch.triu_indices(m, m)
    matrix = packed.new_zeros(m, m)
    matrix[i, j] = packed / torch.where(i == j, 1.0, math.sqrt(2)).double()
    return matrix + matrix.mT - matrix.diag().diag()


def _remove_noise(matrix: Tensor, deviation: float) -> Tensor:
    """Keep the eigenvalues of a symmetric matrix beyond those that its noise has (Wigner 1958)."""
    values, vectors = torch.linalg.eigh(matrix)
    values = torch.where(values > deviation * math.sqrt(2 * len(matrix)), values, 0.0)
    return ((vectors * values) @ vectors.mT).clamp(min=0)


def _band_edges(cross_spectrum: CrossSpectrum) -> list[int]:
    """Return the first frequency of each band, and the number of frequencies."""
    bins = len(cross_spectrum.prior_spectrum)
    return [round(bins * ((4 ** (b / NUM_BANDS) - 1) / 3)) for b in range(NUM_BANDS + 1)]


def _log_ratios(cross_spectrum: CrossSpectrum, x: Tensor, mask: Tensor) -> Tensor:
    """Return log ratios (window, band) of the mean power spectrum of the modalities to the prior spectrum.

    The autocovariance, over pairs of observed samples, is tapered and transformed (Blackman and Tukey 1958).
    """
    circle = cross_spectrum.circle
    length, lags = 2 * max(x.shape[-1], circle), circle // 2 + 1
    products, pairs = (
        torch.fft.irfft(torch.fft.rfft(y, n=length).abs().square().sum(1), n=length)[:, :lags]
        for y in (x, mask)
    )
    covariance = torch.where(pairs > 0.5, products / pairs.clamp(min=1), 0.0)
    taper = torch.hann_window(2 * lags + 1, periodic=False).double()[lags : 2 * lags]
    half = covariance * taper
    autocovariance = torch.cat([half, half[:, 1 : circle - lags + 1].flip(1)], 1)
    power = torch.fft.rfft(autocovariance).real[:, : len(cross_spectrum.prior_spectrum)].clamp(min=0)
    power = power / mean_over_circle(power, circle)[:, None].clamp(min=1e-12)
    edges = _band_edges(cross_spectrum)
    prior = cross_spectrum.prior_spectrum.double()
    ratios = [
        power[:, a:b].mean(1) / prior[a:b].mean() if b > a else power.new_ones(len(power))
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    return torch.stack(ratios, 1).clamp(min=1e-12).log().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def _interpolate(ratios: Tensor, edges: list[int]) -> Tensor:
    centres = [(a + b - 1) / 2 for a, b in zip(edges, edges[1:], strict=False)]
    ratios = ratios.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.from_numpy(np.interp(np.arange(edges[-1]), centres, ratios.numpy()))
