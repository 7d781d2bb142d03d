"""The cross-spectral matrix S(f) of all modalities of one rate, estimated from sums that sites add up.

A window is modelled as a stretch of a stationary multichannel Gaussian process. Its cross-spectral matrix
(modality × modality × frequency) says how every modality follows from every other one at every lag. Sites
estimate it by EM on incomplete windows (Dempster, Laird, Rubin 1977): a site draws its missing samples from
the current S and sends the sum of the cross-periodograms (Welch 1967); the coordinator divides by the count.
Sums add up exactly, so the federated estimate is the pooled one. Two modalities that no site has together
still get a value through the modalities that each of them was observed with.

A short window, which has few frequencies per modality, is not tapered, because a level that persists for all
of it, such as a patient's creatinine, is most of what there is to know. What its ends cost is corrected lag
by lag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Result = TypeVar("Result")

SEGMENT_SAMPLES = 256  # samples of a Welch segment: 2.56 s of ECG, enough for all but the slowest wander
EIGENVALUE_FLOOR = 1e-3  # smallest eigenvalue of S, as a fraction of the mean variance
MIN_FREQUENCIES = 2  # of a window per modality, below which it is short
MIN_LAG_SHARE = 0.5  # of pairs at a lag that a short window has; longer lags have the covariance of this one
PERSISTENCE = 0.5  # correlation time in short windows without data, as a fraction of the window


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
        self.is_short = timeline == self.segment and timeline // 2 < MIN_FREQUENCIES * len(members)
        self.circle = self.fft_length if self.is_short else self.segment  # samples that S is a spectrum of
        self._source: tuple[Tensor, int] | None = None
        self._results: dict[str, object] = {}
        # Without data, low frequencies have more power than high ones, and modalities are independent.
        if self.is_short:
            lags = self._lags()
            decay = torch.exp(-lags / (PERSISTENCE * timeline)) * (1 - lags / timeline).clamp(min=0)
            prior = torch.fft.rfft(decay).real.clamp(min=0)
        else:
            bins = self.segment // 2 + 1
            prior = 1 / (1 + (torch.arange(bins) * 8 / bins) ** 2)
        prior = prior / mean_over_circle(prior, self.circle)
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

        def compute() -> Tensor:
            values, vectors = self.eigendecomposition()
            return (vectors * values[:, None, :]) @ vectors.mH

        return self._once("matrix", compute)

    def autocovariance(self) -> Tensor:
        """Return the covariance at every lag `(modality, modality, lag)` on the circle of a window.

        Entry `(i, j, l)` is that of modality i at l samples after modality j.
        """
        return self._once(
            "autocovariance",
            lambda: torch.fft.irfft(self.matrix().permute(1, 2, 0), n=self.fft_length).contiguous(),
        )

    def eigendecomposition(self) -> tuple[Tensor, Tensor]:
        """Return the floored eigenvalues and the eigenvectors of S on the frequencies of a window.

        Eigenvalues are `(frequency, modality)`, eigenvectors `(frequency, modality, modality)`. The
        average of matrices over different sites need not be positive definite; the floor makes it so.
        """

        def compute() -> tuple[Tensor, Tensor]:
            matrix = self._on_frequencies_of_window()
            values, vectors = torch.linalg.eigh((matrix + matrix.mH) / 2)
            floor = EIGENVALUE_FLOOR * values.sum(1).mean() / len(self.members)
            return values.clamp(min=float(floor)), vectors

        return self._once("eigendecomposition", compute)

    def _on_frequencies_of_window(self) -> Tensor:
        """Return S, not yet positive definite, complex `(frequency, modality, modality)`."""
        if self.is_short:
            lags = torch.fft.irfft(torch.view_as_complex(self.spectrum), n=self.fft_length)
            # A window of T samples has T - l pairs at lag l, whose sum the periodogram divides by T.
            lags = lags * (self.segment / (self.segment - self._lags()).clamp(min=1)).to(lags.device)
            longest, points = int((1 - MIN_LAG_SHARE) * self.segment), torch.arange(self.fft_length)
            is_forward = points <= self.fft_length // 2
            held = torch.where(
                is_forward, points.clamp(max=longest), points.clamp(min=self.fft_length - longest)
            )
            return torch.fft.rfft(lags[..., held]).permute(2, 0, 1)
        m, bins = len(self.members), self.fft_length // 2 + 1
        flat = self.spectrum.permute(0, 1, 3, 2).reshape(1, m * m * 2, -1)
        fine = F.interpolate(flat, size=bins, mode="linear", align_corners=True)
        return torch.view_as_complex(fine.reshape(m, m, 2, bins).permute(3, 0, 1, 2).contiguous())

    def _lags(self) -> Tensor:
        """Return the distance in samples of each point of the circle of a window from the first one."""
        forward = torch.arange(self.fft_length)
        return torch.minimum(forward, self.fft_length - forward).float()

    def _once(self, name: str, compute: Callable[[], Result]) -> Result:
        """Return what follows from S, computed once for as long as S does not change."""
        if (
            self._source is None
            or self._source[0] is not self.spectrum
            or self._source[1] != self.spectrum._version
        ):
            self._source, self._results = (self.spectrum, self.spectrum._version), {}
        if name not in self._results:
            self._results[name] = compute()
        return cast(Result, self._results[name])

    def covariance(self) -> Tensor:
        """Return the covariance at one instant `(modality, modality)`, which is made positive definite."""

        def compute() -> Tensor:
            values, vectors = torch.linalg.eigh(mean_over_circle(self.spectrum[..., 0], self.circle))
            return (vectors * values.clamp(min=1e-5 * float(values.mean()))) @ vectors.mT

        return self._once("covariance", compute)

    def sum_periodograms(self, x: Tensor) -> Tensor:
        """Sum the mean cross-periodogram of complete windows; divided by their number it estimates S.

        Parameters
        ----------
        x : Tensor (batch, modality, time), standardised and complete

        Returns
        -------
        Tensor (modality, modality, frequency, 2): real and imaginary part in the last axis
        """
        if self.is_short:
            spectra = torch.fft.rfft(x, n=self.fft_length) / self.segment**0.5
            return torch.view_as_real(torch.einsum("bif,bjf->ijf", spectra, spectra.conj()))
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
    powers = range(n.bit_length())
    odd_factors = [3**i * 5**j for i in powers for j in powers]
    return min(odd << max((-(-n // odd) - 1).bit_length(), 1) for odd in odd_factors)
