"""What a window is, given what is seen of it: the conditional mean of a Gaussian process, and draws.

A window is x = S^½ u of coordinates u (frequency, modality, window) that are white where S, the relation that
all sites share, holds; their covariance K, one matrix per window and band of frequencies, is how this window
departs from it: the leads of one heart are related more closely than those of hearts in general. From what
is seen follows u, from u an estimate of K, and from that a better u: steps of EM for the posterior mode of K,
under an inverse Wishart prior around the identity (Dempster, Laird, Rubin 1977).

Working in u needs no inverse of S, so that modalities which follow from others (limb leads) do no harm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.diffusion import cpu_randn
from condi_core.imputer.interpolation import same_instant

CG_ITERATIONS = 16  # of conjugate gradients, and as many again after each adaptation to the window
NOISE_VARIANCE = 0.01  # variance of measurement noise that is assumed, of a modality's variance
BANDS = 8  # of frequencies, in each of which a window has one K; narrow where slow, wide where fast
MIN_BAND_BINS = 16  # frequencies per band at least, on average; short windows have fewer bands
BAND_WARP = 0.04  # share of the highest frequency up to which bands are about equally wide
PRIOR_WEIGHT = 1.0  # of the relation that sites share: as many frequencies of a band per modality
POWER_WEIGHT = 100  # of the power that sites share, in samples, beside the window's own
QUADRATURE_BINS = 8  # frequencies of a band at which the remaining uncertainty is worked out


class StationaryPrior:
    """How windows of `time` samples come from white coordinates (frequency, modality, window) by S."""

    def __init__(self, relation: CrossSpectrum, time: int) -> None:
        self.length, self.time = relation.length, time
        self.values, self.vectors = relation.eigen()
        self.root = self.spread(self.values.sqrt())
        self.bands = _bands(relation.length // 2 + 1)

    def spread(self, gain: Tensor) -> Tensor:
        """The matrix with the eigenvectors of S and eigenvalues `gain` (frequency, modality)."""
        return (self.vectors * gain[:, None, :]) @ self.vectors.mH

    def window(self, u: Tensor) -> Tensor:
        """From coordinates to the window (time, modality, window)."""
        return torch.fft.irfft(torch.bmm(self.root, u), n=self.length, dim=0, norm="ortho")[: self.time]

    def adjoint(self, x: Tensor) -> Tensor:
        """The adjoint of `window`."""
        return torch.bmm(self.root, self.spectrum(x))

    def spectrum(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x, n=self.length, dim=0, norm="ortho").contiguous()

    def coordinates(self, x: Tensor, noise: float) -> Tensor:
        """Expected coordinates of a complete window measured with noise."""
        return torch.bmm(self.spread(self.values.sqrt() / (self.values + noise)), self.spectrum(x))


class WindowCovariance:
    """How each window departs from the population: K⁻¹ for every band of frequencies."""

    def __init__(self, population: StationaryPrior, precision: list[Tensor] | None = None) -> None:
        self.population, self.precision = population, precision

    def penalty(self, u: Tensor) -> Tensor:
        """K⁻¹ u."""
        if self.precision is None:
            return u
        parts, bands = u.permute(2, 1, 0).contiguous(), self.population.bands
        found = [p @ parts[..., a:b] for p, (a, b) in zip(self.precision, bands, strict=True)]
        return torch.cat(found, 2).permute(2, 1, 0).contiguous()

    def after(self, u: Tensor, seen: Tensor, noise: float) -> WindowCovariance:
        """One step of EM from posterior means `u`.

        `seen` (time, modality, window). How uncertain `u` is follows in the mean field, from the share of
        each modality that is seen: samples missing here and there count as seen a little less exactly.
        """
        m, of = seen.shape[1], self.population
        share = seen.sum(0).mT / of.length
        eye, weight = torch.eye(m, device=u.device, dtype=u.dtype), PRIOR_WEIGHT * m
        precision, u = [], u.permute(2, 1, 0)
        for i, (a, b) in enumerate(of.bands):
            own = eye if self.precision is None else self.precision[i][:, None]
            few = of.root[torch.linspace(a, b - 1, min(QUADRATURE_BINS, b - a), device=u.device).long()]
            given = few.mH @ (share[:, None, :, None] * few)
            left = noise * torch.linalg.inv(noise * own + given).mean(1)
            moment = u[..., a:b] @ u[..., a:b].mH + (b - a) * left
            estimate = (weight * eye + moment) / (weight + b - a)
            values, vectors = torch.linalg.eigh(estimate)
            precision.append((vectors / values.clamp(1e-3, 1e3)[:, None, :]) @ vectors.mH)
        return WindowCovariance(of, precision)


def conditional_mean(
    x: Tensor,
    seen: Tensor,
    relation: CrossSpectrum,
    adaptations: int = 0,
    iterations: int = CG_ITERATIONS,
    sample: torch.Generator | None = None,
    noise: float = NOISE_VARIANCE,
    start: Tensor | None = None,
) -> Tensor:
    """Mean of every sample given all that is seen, at all times and in all modalities.

    `x`, `seen` (batch, modality, time), zeros where not seen. Solves the normal equations
    (s² K⁻¹ + Bᴴ M B) u = Bᴴ M x, where M is `seen` and x = B u, by conjugate gradients, anew after each of
    the `adaptations` of K to the window; these begin with its power, so that noise is a share of that too.
    With `sample`, one draw from the conditional distribution instead (Matheron's rule), so that variance is
    not lost when S is estimated from it; draws are those of the population, ValueError if they should adapt.
    `start`: the estimate to start from, by default that of `same_instant`.
    """
    if adaptations and sample is not None:
        raise ValueError("draws come from the population's relation: leave adaptations at 0")
    of, order = StationaryPrior(relation, x.shape[-1]), (2, 1, 0)
    scale = _scale(x, seen) if adaptations else 1.0
    start = same_instant(x, seen, relation.covariance())[0] if start is None else start
    x, start = x / scale, (start / scale).permute(order)
    mask, y = seen.to(x.dtype).permute(order).contiguous(), x.permute(order).contiguous()
    if sample is not None:
        white = cpu_randn((relation.length, *y.shape[1:]), sample, x.device)
        drawn = of.spectrum(white)
        errors = math.sqrt(noise) * cpu_randn(y.shape, sample, x.device)
        y = (y - of.window(drawn) - errors) * mask
        start = start - of.window(drawn)
    departure = WindowCovariance(of)
    u = _solve(departure, y, mask, noise, iterations, of.coordinates(start, noise))
    for _ in range(adaptations):
        departure = departure.after(u, mask, noise)
        u = _solve(departure, y, mask, noise, iterations, u)
    if sample is not None:
        u = u + drawn
    return of.window(u).permute(order) * scale


def _scale(x: Tensor, seen: Tensor) -> Tensor:
    """Root mean square of what is seen of each window (batch, 1, 1), drawn a little towards 1."""
    count = seen.sum((1, 2), keepdim=True)
    power = torch.where(seen, x, 0.0).square().sum((1, 2), keepdim=True)
    return ((power + POWER_WEIGHT) / (count + POWER_WEIGHT)).sqrt()


def _solve(
    departure: WindowCovariance, y: Tensor, mask: Tensor, noise: float, iterations: int, u: Tensor
) -> Tensor:
    """Conjugate gradients from `u`; the preconditioner knows what share is missing, but not where."""
    of = departure.population
    share = mask.mean((0, 1)) * of.time / of.length
    damping = 1 / (noise + of.values[:, :, None] * share)
    forth, back = of.vectors.mH.contiguous(), of.vectors

    def system(u: Tensor) -> Tensor:
        return noise * departure.penalty(u) + of.adjoint(mask * of.window(u))

    def precondition(r: Tensor) -> Tensor:
        return torch.bmm(back, torch.bmm(forth, r) * damping)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        # Over the whole circle of frequencies, of which only one half is held.
        inside = torch.linalg.vecdot(a.flatten(0, 1), b.flatten(0, 1), dim=0).real
        ends = (a[0].conj() * b[0]).real.sum(0)
        if of.length % 2 == 0:
            ends = ends + (a[-1].conj() * b[-1]).real.sum(0)
        return 2 * inside - ends

    r = of.adjoint(mask * y) - system(u)
    p = s = precondition(r)
    rs = dot(r, s)
    for _ in range(iterations):
        sp = system(p)
        step = rs / dot(p, sp).clamp(min=1e-20)
        u, r = u + step * p, r - step * sp
        s = precondition(r)
        new = dot(r, s)
        p, rs = s + new / rs.clamp(min=1e-20) * p, new
    return u


def _bands(frequencies: int) -> list[tuple[int, int]]:
    """From and up to which frequency each band goes."""
    bands = max(1, min(BANDS, frequencies // MIN_BAND_BINS))
    place = torch.arange(frequencies) / max(frequencies - 1, 1)
    band = (torch.log1p(place / BAND_WARP) / math.log1p(1 / BAND_WARP) * bands).long().clamp(max=bands - 1)
    edges = [0, *(band.diff().nonzero().flatten() + 1).tolist(), frequencies]
    return list(zip(edges, edges[1:], strict=False))
