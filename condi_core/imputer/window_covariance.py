"""The covariance of a window in coordinates that are white over the population, and how it is estimated.

A window is x = S^½ u, where S is the cross-spectrum that all sites share and u are coordinates (frequency,
modality, window). Over the population u is white. In a single window it has a covariance K, one matrix per
window and frequency band, that describes how the window deviates from the population: the leads of one heart
are related more closely than those of hearts in general. Steps of EM (Dempster, Laird, Rubin 1977) lead to
the posterior mode of K under an inverse Wishart prior around the identity.

Working in u needs no inverse of S, so that modalities which follow from others (limb leads) do no harm.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from condi_core.imputer.cross_spectrum import CrossSpectrum

BANDS = 8  # frequency bands with one K each: narrow at low frequencies, wide at high ones
MIN_BAND_BINS = 16  # smallest mean number of frequencies per band; short windows have fewer bands
BAND_WARP = 0.04  # fraction of the highest frequency below which bands are about equally wide
BLOCKS = 8  # blocks of frequencies of a band, in which the remaining uncertainty is taken for constant
PRIOR_WEIGHT = 1.0  # weight of the population in K, in frequencies of a band per modality


class Band(NamedTuple):
    """Frequency bins `start` to `end` (exclusive), in blocks of `width` bins; `middle` is a bin of each."""

    start: int
    end: int
    width: int
    middle: Tensor


class StationaryPrior:
    """The linear map between windows and coordinates that are white over the population.

    Coordinates are `(frequency, modality, window)`, windows `(time, modality, window)`.

    Parameters
    ----------
    cross_spectrum : S
    time : samples of a window
    """

    def __init__(self, cross_spectrum: CrossSpectrum, time: int) -> None:
        self.fft_length = cross_spectrum.fft_length
        self.time = time
        self.eigenvalues, self.eigenvectors = cross_spectrum.eigendecomposition()
        self.root = self.with_eigenvalues(self.eigenvalues.sqrt())
        self.covariance = cross_spectrum.covariance()
        self.bands = _divide_frequencies(self.fft_length // 2 + 1, self.root.device)

    def with_eigenvalues(self, eigenvalues: Tensor) -> Tensor:
        """Return the matrix with the eigenvectors of S and other `eigenvalues` (frequency, modality)."""
        return (self.eigenvectors * eigenvalues[:, None, :]) @ self.eigenvectors.mH

    def to_window(self, u: Tensor) -> Tensor:
        """Map coordinates to the window."""
        spectrum = torch.bmm(self.root, u)
        return torch.fft.irfft(spectrum, n=self.fft_length, dim=0, norm="ortho")[: self.time]

    def apply_adjoint(self, x: Tensor) -> Tensor:
        """Apply the adjoint of `to_window`."""
        return torch.bmm(self.root, self.to_spectrum(x))

    def to_spectrum(self, x: Tensor) -> Tensor:
        """Transform a window, extended by zeros, to frequencies."""
        return torch.fft.rfft(x, n=self.fft_length, dim=0, norm="ortho").contiguous()

    def whiten(self, x: Tensor, noise_variance: float) -> Tensor:
        """Return the expected coordinates of a complete window measured with noise."""
        gain = self.with_eigenvalues(self.eigenvalues.sqrt() / (self.eigenvalues + noise_variance))
        return torch.bmm(gain, self.to_spectrum(x))


class WindowCovariance:
    """The covariance K of the coordinates of each window, as K⁻¹ per frequency band.

    Parameters
    ----------
    prior : the map between windows and coordinates
    conditioning : Tensor (time, modality, window), 1 where a sample is observed
    noise_variance : variance of the measurement noise
    precision : K⁻¹ of each band, Tensor (window, modality, modality); None: the identity, the population's
    """

    def __init__(
        self,
        prior: StationaryPrior,
        conditioning: Tensor,
        noise_variance: float,
        precision: list[Tensor] | None = None,
    ) -> None:
        self.prior = prior
        self.conditioning = conditioning
        self.noise_variance = noise_variance
        self.precision = precision
        self.posterior = self._approximate_posterior()

    def _approximate_posterior(self) -> list[Tensor]:
        """Return (s² K⁻¹ + Bᴴ M B)⁻¹ in the mean field, of blocks of frequencies (window, block, m, m).

        Which fraction of each modality is observed decides: samples missing here and there count as if all
        were observed a little less precisely. All frequencies of a block have the matrix of its middle.
        """
        fraction = self.conditioning.sum(0).mT / self.prior.fft_length
        root = self.prior.root[torch.cat([band.middle for band in self.prior.bands])]
        information = root.mH @ (fraction[:, None, :, None] * root)
        parts = information.split([len(band.middle) for band in self.prior.bands], 1)
        eye = torch.eye(root.shape[1], device=root.device)
        previous = self.precision or [eye.expand(len(fraction), -1, -1)] * len(parts)
        penalised = [part + self.noise_variance * p[:, None] for part, p in zip(parts, previous, strict=True)]
        return list(torch.linalg.inv(torch.cat(penalised, 1)).split([p.shape[1] for p in parts], 1))

    def apply_precision(self, u: Tensor) -> Tensor:
        """Return K⁻¹ u, of coordinates (window, modality, frequency)."""
        if self.precision is None:
            return u
        bands = zip(self.precision, self.prior.bands, strict=True)
        return torch.cat([p @ u[..., band.start : band.end] for p, band in bands], 2)

    def precondition(self, r: Tensor) -> Tensor:
        """Apply the approximate posterior to `r` (window, modality, frequency)."""
        parts = []
        for posterior, block in zip(self.posterior, self.prior.bands, strict=True):
            width, blocks = block.width, len(block.middle)
            part = r[..., block.start : block.end]
            padded = F.pad(part, (0, width * blocks - part.shape[2])).unflatten(2, (blocks, width))
            product = posterior @ padded.transpose(1, 2)
            parts.append(product.transpose(1, 2).flatten(2)[..., : part.shape[2]])
        return torch.cat(parts, 2)

    def em_step(self, u: Tensor) -> WindowCovariance:
        """Estimate K again from the posterior means of the coordinates (window, modality, frequency)."""
        m, prior = u.shape[1], self.prior
        eye, weight = torch.eye(m, device=u.device, dtype=u.dtype), PRIOR_WEIGHT * m
        estimates = []
        for posterior, block in zip(self.posterior, prior.bands, strict=True):
            part, frequencies = u[..., block.start : block.end], block.end - block.start
            uncertainty = self.noise_variance * posterior.mean(1)
            moment = part @ part.mH + frequencies * uncertainty
            estimates.append((weight * eye + moment) / (weight + frequencies))
        values, vectors = torch.linalg.eigh(torch.stack(estimates))
        precision = (vectors / values.clamp(1e-3, 1e3)[..., None, :]) @ vectors.mH
        return WindowCovariance(prior, self.conditioning, self.noise_variance, list(precision))


def _divide_frequencies(frequencies: int, device: torch.device) -> list[Band]:
    """Divide frequency bins into bands, and each of these into blocks."""
    bands = max(1, min(BANDS, frequencies // MIN_BAND_BINS))
    relative = torch.arange(frequencies) / max(frequencies - 1, 1)
    warped = torch.log1p(relative / BAND_WARP) / math.log1p(1 / BAND_WARP)
    band = (warped * bands).long().clamp(max=bands - 1)
    edges = [0, *(band.diff().nonzero().flatten() + 1).tolist(), frequencies]
    divided = []
    for start, end in zip(edges, edges[1:], strict=False):
        width = -(-(end - start) // BLOCKS)
        middle = torch.arange(start, end, width, device=device) + width // 2
        divided.append(Band(start, end, width, middle.clamp(max=end - 1)))
    return divided
