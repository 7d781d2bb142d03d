"""The covariance of a window, in which it differs from the population, and how that is estimated.

A window is x = S^½ u, where S is the cross-spectrum that all sites share and u are coordinates at each
frequency. Over the population u is white. In a single window it has a covariance K, one matrix per window and
frequency band, that describes how the window deviates from the population: the leads of one heart are related
more closely than those of hearts in general.

A complete window that is measured with noise of variance s², z = x + e, has the covariance
C = S^½ K S^½ + s² I at each frequency. Given z, its coordinates have the mean K S^½ C⁻¹ z and the covariance
(K⁻¹ + S / s²)⁻¹. From these, steps of EM (Dempster, Laird, Rubin 1977) lead to the posterior mode of K under
an inverse Wishart prior around the identity. The more is missing, the smaller are the steps of EM, so they
are over-relaxed: log K goes further in the same direction by a constant factor. Fixed points remain the same,
and a local mode attracts for any factor below 2 (Salakhutdinov, Roweis 2003). Being a step of the logarithm,
it keeps K positive definite.
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
MAX_BLOCKS = 192  # of frequencies that share matrices: a bit finer than the 129 at which S was estimated
PRIOR_WEIGHT = 1.0  # weight of the population in K, in frequencies of a band per modality
OVERRELAXATION = 1.6  # steps of log K as multiples of those of EM
LOG_RANGE = math.log(1e3)  # largest absolute eigenvalue of log K
RELATIVE_NOISE = 1e-6  # fraction of the power at a frequency, without which C can be singular in float32
OBSERVED_WEIGHT = 0.2  # of observed samples in the preconditioner, found by trial on ECG


class Band(NamedTuple):
    """The `blocks` of a frequency band, which have `bins` frequencies."""

    blocks: slice
    bins: int


class StationaryPrior:
    """The cross-spectrum of the population in blocks of frequencies, and filters in such blocks.

    Spectra are `(window, block, modality, frequency)`, windows `(window, modality, time)` on a circle. All
    frequencies of a block share the S of its middle, so that a window has one matrix per block.

    Parameters
    ----------
    cross_spectrum : S
    max_blocks : number of blocks of equal width; None: one for each frequency
    """

    def __init__(self, cross_spectrum: CrossSpectrum, max_blocks: int | None = None) -> None:
        self.fft_length = cross_spectrum.fft_length
        self.frequencies = self.fft_length // 2 + 1
        values, vectors = cross_spectrum.eigendecomposition()
        root = (vectors * values.sqrt()[:, None, :]) @ vectors.mH
        middle = _middles(self.frequencies, max_blocks or self.frequencies)
        self.root = root[middle.to(root.device)]
        self.bands = _divide_blocks(middle, self.frequencies)

    def to_spectrum(self, x: Tensor, blocks: int) -> Tensor:
        """Transform a window, which is extended by zeros to the circle."""
        spectrum, width = torch.fft.rfft(x, n=self.fft_length, norm="ortho"), -(-self.frequencies // blocks)
        padded = F.pad(spectrum, (0, blocks * width - self.frequencies))
        return padded.unflatten(2, (blocks, width)).transpose(1, 2)

    def filter(self, matrices: Tensor, x: Tensor) -> Tensor:
        """Multiply the spectrum of windows by one matrix per block, and return to the whole circle."""
        # Unlike @, einsum does not copy matrices that all windows share.
        spectrum = torch.einsum("...bij,...bjf->...ibf", matrices, self.to_spectrum(x, matrices.shape[-3]))
        spectrum = spectrum.flatten(2)[..., : self.frequencies]
        return torch.fft.irfft(spectrum, n=self.fft_length, norm="ortho")


class WindowCovariance:
    """The covariance C of windows that are measured with noise, and what follows from it.

    Parameters
    ----------
    prior : the cross-spectrum in blocks
    observed : Tensor (window, modality), fraction of the circle that is observed, below 1
    noise_variance : s², variance of the measurement noise
    log_k : log K of each window and band, Tensor (window, band, modality, modality); None: that of the
        population, 0

    Attributes
    ----------
    inverse : C⁻¹ of each block, Tensor (window, block, modality, modality)
    preconditioner : approximate covariance of missing samples given all observed ones, in at most MAX_BLOCKS
        blocks, of such a shape
    """

    def __init__(
        self, prior: StationaryPrior, observed: Tensor, noise_variance: float, log_k: Tensor | None = None
    ) -> None:
        self.prior, self.observed, self.noise_variance = prior, observed, noise_variance
        self.eye = torch.eye(prior.root.shape[1], device=prior.root.device, dtype=prior.root.dtype)
        self.log_k = self.eye.new_zeros((1, len(prior.bands), *self.eye.shape)) if log_k is None else log_k
        values, vectors = torch.linalg.eigh(self.log_k)
        scale = values.clamp(-LOG_RANGE, LOG_RANGE).exp()[..., None, :]
        # These are (window, band, 1, modality, modality), to be multiplied with matrices of blocks.
        self.k, self.precision = ((vectors * v @ vectors.mH)[:, :, None] for v in (scale, 1 / scale))
        self.inverse = _invert(self._noisy_covariance())
        self.preconditioner = self._approximate_posterior()

    def _noisy_covariance(self) -> Tensor:
        """Return C, with noise that float32 can represent beside the power of all modalities."""
        roots = (self.prior.root[band.blocks] for band in self.prior.bands)
        covariance = torch.cat([r @ k @ r for r, k in zip(roots, self.k.unbind(1), strict=True)], 1)
        power = covariance.diagonal(dim1=2, dim2=3).real.sum(2)[..., None, None]
        return covariance + (self.noise_variance + RELATIVE_NOISE * power) * self.eye

    def _approximate_posterior(self) -> Tensor:
        """Return the covariance of what is missing given what is observed, in the mean field.

        Which fraction of each modality is observed decides: samples missing here and there count as if all
        were observed less precisely.
        """
        precision = self.inverse.diagonal(dim1=2, dim2=3).real.mean(1)
        information = OBSERVED_WEIGHT * self.observed / (1 - self.observed) * precision
        inverse = self.inverse[:, _middles(self.inverse.shape[1], MAX_BLOCKS).to(self.inverse.device)]
        return _invert(inverse + torch.diag_embed(information)[:, None])

    def em_step(self, z: Tensor) -> WindowCovariance:
        """Estimate K again from windows (window, modality, time) that are completed on the whole circle."""
        weighted = self.inverse @ self.prior.to_spectrum(z, self.inverse.shape[1])
        weight, estimates = PRIOR_WEIGHT * len(self.eye), []
        fraction = self.observed[:, None, :, None]
        for i, band in enumerate(self.prior.bands):
            root, k = self.prior.root[band.blocks], self.k[:, i]
            u = (k @ (root @ weighted[:, band.blocks])).transpose(1, 2).flatten(2)
            # What remains uncertain varies little from one block to the next.
            root = root[::2]
            information = root @ (fraction * root) / self.noise_variance
            uncertainty = _invert(information + self.precision[:, i]).mean(1)
            moment = u @ u.mH + band.bins * uncertainty
            estimates.append((weight * self.eye + moment) / (weight + band.bins))
        values, vectors = torch.linalg.eigh(torch.stack(estimates, 1))
        estimated = vectors * values.log()[..., None, :] @ vectors.mH
        log_k = torch.lerp(self.log_k, estimated, OVERRELAXATION)
        return WindowCovariance(self.prior, self.observed, self.noise_variance, log_k)


def _invert(matrix: Tensor) -> Tensor:
    """Return the inverse of positive definite matrices, which is positive semi-definite as well."""
    eye = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    factor = torch.linalg.solve_triangular(torch.linalg.cholesky(matrix), eye, upper=False)
    return factor.mH @ factor


def _middles(count: int, max_blocks: int) -> Tensor:
    """Return the middle of each block, of at most `max_blocks` that have equal widths except for the last."""
    width = -(-count // max_blocks)
    return (torch.arange(0, count, width) + width // 2).clamp(max=count - 1)


def _divide_blocks(middle: Tensor, frequencies: int) -> list[Band]:
    """Divide blocks of frequencies, of which each has a `middle`, into bands."""
    bands, width = max(1, min(BANDS, frequencies // MIN_BAND_BINS)), -(-frequencies // len(middle))
    relative = middle / max(frequencies - 1, 1)
    warped = torch.log1p(relative / BAND_WARP) / math.log1p(1 / BAND_WARP)
    band = (warped * bands).long().clamp(max=bands - 1)
    edges = [0, *(band.diff().nonzero().flatten() + 1).tolist(), len(band)]
    return [
        Band(slice(start, end), min(end * width, frequencies) - start * width)
        for start, end in zip(edges, edges[1:], strict=False)
    ]
