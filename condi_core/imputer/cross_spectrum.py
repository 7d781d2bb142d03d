"""The relation between all modalities as a cross-spectral matrix S(f), learned as plain sums.

A window is taken for a stretch of a stationary multichannel Gaussian process. Its cross-spectral
matrix (modality × modality × frequency) says how every modality follows from every other at every lag.
Sites estimate it by EM on incomplete windows: a site draws its missing samples from the current S and
sends the sum of the cross-periodograms; the coordinator divides by the count. Sums add up exactly, so
the federated estimate is the pooled one, and two modalities that no site has together still get a value
through those each has been seen with. (Dempster, Laird, Rubin 1977; Welch 1967.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEGMENT_SAMPLES = 256  # samples of a Welch segment: 2.56 s of ECG, enough for all but the slowest wander
EIGENVALUE_FLOOR = 1e-3  # least eigenvalue of S, as a share of the mean variance


class CrossSpectrum(nn.Module):
    """S(f) in standardised units of the modalities at the places `members`, which share a time axis.

    `timeline` is the number of samples of a window on it.
    """

    owners = {"spectrum": "pair"}

    def __init__(self, members: Sequence[int], timeline: int) -> None:
        super().__init__()
        self.members = tuple(members)
        self.segment = min(SEGMENT_SAMPLES, timeline)
        # Room after the window so that the circular transform does not tie its end to its beginning.
        self.length = _fast_length(timeline + self.segment)
        bins = self.segment // 2 + 1
        # Slow rather than fast, and independent modalities: what is assumed before anything is seen.
        red = 1 / (1 + (torch.arange(bins) * 8 / bins) ** 2)
        self.register_buffer("red", red / _mean_over_circle(red, self.segment), persistent=False)
        self.register_buffer("spectrum", self._same_at_all_lags(torch.eye(len(members))))

    def _same_at_all_lags(self, covariance: Tensor) -> Tensor:
        real = covariance[:, :, None] * self.red
        return torch.stack([real, torch.zeros_like(real)], -1)

    def moments(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Where EM starts: covariance over samples seen together, and their number, for every pair.

        `x`, `seen` (batch, modality, time). Returns a spectrum `(modality, modality, frequency, 2)` that
        has this covariance and the assumed shape, and the counts `(modality, modality)` to average it by.
        """
        s = seen.double()
        counts = torch.einsum("bit,bjt->ij", s, s)
        products = torch.einsum("bit,bjt->ij", x.double() * s, x.double() * s)
        return self._same_at_all_lags((products / counts.clamp(min=1)).float()), counts

    def matrix(self) -> Tensor:
        """S on the frequencies of a window, complex `(frequency, modality, modality)`, floored."""
        values, vectors = self.eigen()
        return (vectors * values[:, None, :]) @ vectors.mH

    def eigen(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues `(frequency, modality)` and vectors `(frequency, modality, modality)` of S."""
        m, bins = self.spectrum.shape[0], self.length // 2 + 1
        flat = self.spectrum.permute(0, 1, 3, 2).reshape(1, m * m * 2, -1)
        fine = F.interpolate(flat, size=bins, mode="linear", align_corners=True)
        matrix = torch.view_as_complex(fine.reshape(m, m, 2, bins).permute(3, 0, 1, 2).contiguous())
        values, vectors = torch.linalg.eigh((matrix + matrix.mH) / 2)
        floor = EIGENVALUE_FLOOR * values.sum(1).mean() / m
        return values.clamp(min=float(floor)), vectors

    def covariance(self) -> Tensor:
        """Covariance of all modalities at the same instant, `(modality, modality)`, positive definite."""
        values, vectors = torch.linalg.eigh(_mean_over_circle(self.spectrum[..., 0], self.segment))
        return (vectors * values.clamp(min=1e-5 * float(values.mean()))) @ vectors.mT

    def periodograms(self, x: Tensor) -> Tensor:
        """Sum over windows of the mean cross-periodogram of complete `x` (batch, modality, time).

        Returns `(modality, modality, frequency, 2)`, the real and imaginary part in the last axis;
        divide by the number of windows for S.
        """
        taper = torch.hann_window(self.segment + 2, periodic=False, device=x.device)[1:-1]
        pieces = x.unfold(-1, self.segment, max(self.segment // 2, 1)) * taper
        spectra = torch.fft.rfft(pieces, dim=-1) / taper.square().sum().sqrt()
        cross = torch.einsum("bisf,bjsf->ijf", spectra, spectra.conj())
        return torch.view_as_real(cross) / pieces.shape[2]


def _mean_over_circle(half: Tensor, length: int) -> Tensor:
    """Mean over all frequencies of a circle of which the last axis holds the non-negative half."""
    weight = torch.full((half.shape[-1],), 2.0, device=half.device)
    weight[0] = 1.0
    if length % 2 == 0:
        weight[-1] = 1.0
    return (half * weight).sum(-1) / length


def _fast_length(n: int) -> int:
    """The least even number from `n` up without prime factors above 5: quick to transform."""

    def smooth(k: int) -> bool:
        for p in (2, 3, 5):
            while k % p == 0:
                k //= p
        return k == 1

    n += n % 2
    while not smooth(n):
        n += 2
    return n
