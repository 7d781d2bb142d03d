"""The cross-spectral matrix S(f) of all modalities of one rate, estimated from sums that sites add up.

A window is modelled as a stretch of a stationary multichannel Gaussian process. Its cross-spectral matrix
(modality × modality × frequency) says how every modality follows from every other one at every lag. Sites
estimate it by EM on incomplete windows (Dempster, Laird, Rubin 1977): a site draws its missing samples from
the current S and sends the sum of the cross-periodograms (Welch 1967); the coordinator divides by the count.
Sums add up exactly, so the federated estimate is the pooled one. Two modalities that no site has together
still get a value through the modalities that each of them was observed with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEGMENT_SAMPLES = 256  # samples of a Welch segment: 2.56 s of ECG, enough for all but the slowest wander
EIGENVALUE_FLOOR = 1e-3  # smallest eigenvalue of S, as a fraction of the mean variance


class CrossSpectrum(nn.Module):
    """S(f), in standardised units, of modalities that share a time axis.

    Parameters
    ----------
    members : positions of these modalities among all modalities
    timeline : samples of a window on their time axis
    """

    owners = {"spectrum": "pair"}
    spectrum: Tensor
    prior_spectrum: Tensor

    def __init__(self, members: Sequence[int], timeline: int) -> None:
        super().__init__()
        self.members = tuple(members)
        self.segment = min(SEGMENT_SAMPLES, timeline)
        # The circular transform extends beyond the window, so that its end is not tied to its beginning.
        self.fft_length = _next_fast_length(timeline + self.segment)
        bins = self.segment // 2 + 1
        # Without data, low frequencies have more power than high ones, and modalities are independent.
        prior = 1 / (1 + (torch.arange(bins) * 8 / bins) ** 2)
        prior = prior / mean_over_circle(prior, self.segment)
        self.register_buffer("prior_spectrum", prior, persistent=False)
        self.register_buffer("spectrum", self._with_prior_shape(torch.eye(len(members))))

    def _with_prior_shape(self, covariance: Tensor) -> Tensor:
        """Return the spectrum that has this covariance and the shape of the prior."""
        real = covariance[:, :, None] * self.prior_spectrum
        return torch.stack([real, torch.zeros_like(real)], -1)

    def initial_covariance(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate the initial spectrum of EM from pairs of samples observed at the same instant.

        Parameters
        ----------
        x, observed : Tensor (batch, modality, time), standardised

        Returns
        -------
        spectrum : Tensor (modality, modality, frequency, 2) with this covariance and the prior's shape
        counts : Tensor (modality, modality) of samples, by which spectra are averaged over sites
        """
        s = observed.double()
        counts = torch.einsum("bit,bjt->ij", s, s)
        products = torch.einsum("bit,bjt->ij", x.double() * s, x.double() * s)
        return self._with_prior_shape((products / counts.clamp(min=1)).float()), counts

    def matrix(self) -> Tensor:
        """Return S on the frequencies of a window, complex `(frequency, modality, modality)`, floored."""
        values, vectors = self.eigendecomposition()
        return (vectors * values[:, None, :]) @ vectors.mH

    def eigendecomposition(self) -> tuple[Tensor, Tensor]:
        """Return the floored eigenvalues and the eigenvectors of S on the frequencies of a window.

        Eigenvalues are `(frequency, modality)`, eigenvectors `(frequency, modality, modality)`. The
        average of matrices over different sites need not be positive definite; the floor makes it so.
        """
        m, bins = self.spectrum.shape[0], self.fft_length // 2 + 1
        flat = self.spectrum.permute(0, 1, 3, 2).reshape(1, m * m * 2, -1)
        fine = F.interpolate(flat, size=bins, mode="linear", align_corners=True)
        matrix = torch.view_as_complex(fine.reshape(m, m, 2, bins).permute(3, 0, 1, 2).contiguous())
        values, vectors = torch.linalg.eigh((matrix + matrix.mH) / 2)
        floor = EIGENVALUE_FLOOR * values.sum(1).mean() / m
        return values.clamp(min=float(floor)), vectors

    def covariance(self) -> Tensor:
        """Return the covariance at one instant `(modality, modality)`, which is made positive definite."""
        values, vectors = torch.linalg.eigh(mean_over_circle(self.spectrum[..., 0], self.segment))
        return (vectors * values.clamp(min=1e-5 * float(values.mean()))) @ vectors.mT

    def sum_periodograms(self, x: Tensor) -> Tensor:
        """Sum the mean cross-periodogram of complete windows; divided by their number it estimates S.

        Parameters
        ----------
        x : Tensor (batch, modality, time), standardised and complete

        Returns
        -------
        Tensor (modality, modality, frequency, 2): real and imaginary part in the last axis
        """
        taper = torch.hann_window(self.segment + 2, periodic=False, device=x.device)[1:-1]
        segments = x.unfold(-1, self.segment, max(self.segment // 2, 1)) * taper
        spectra = torch.fft.rfft(segments, dim=-1) / taper.square().sum().sqrt()
        cross = torch.einsum("bisf,bjsf->ijf", spectra, spectra.conj())
        return torch.view_as_real(cross) / segments.shape[2]


def mean_over_circle(half: Tensor, length: int) -> Tensor:
    """Average over all frequencies of a circle of which the last axis holds the non-negative half."""
    weight = torch.full((half.shape[-1],), 2.0, device=half.device)
    weight[0] = 1.0
    if length % 2 == 0:
        weight[-1] = 1.0
    return (half * weight).sum(-1) / length


def _next_fast_length(n: int) -> int:
    """Return the smallest even number from `n` up whose prime factors are at most 5: fast to transform."""

    def is_smooth(k: int) -> bool:
        for p in (2, 3, 5):
            while k % p == 0:
                k //= p
        return k == 1

    n += n % 2
    while not is_smooth(n):
        n += 2
    return n
