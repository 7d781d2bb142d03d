"""What a window is, given what is seen of it: the conditional mean of a Gaussian process, and draws.

A window is x = S^½ K^½ u of white coordinates u (frequency, modality, window). S is the relation that all
sites share; K, one matrix per window and band of frequencies, is how this window departs from it: the leads
of one heart are related more closely than those of hearts in general. From what is seen follows u, from u an
estimate of K, and from that a better u: steps of EM for the posterior mode of K, under an inverse Wishart
prior around the identity (Dempster, Laird, Rubin 1977).

Working in u needs no inverse of S, so that modalities which follow from others (limb leads) do no harm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from condi_core.imputer.reference import same_instant
from condi_core.imputer.relation import SpectralRelation

ITERATIONS = 20  # of conjugate gradients, and as many again after each adaptation to the window
NOISE = 0.02  # variance of measurement noise that is assumed, of a modality's variance
BANDS = 8  # of frequencies, in each of which a window has one K; narrow where slow, wide where fast
FULL = 16  # frequencies per band at least; short windows have fewer bands
WARP = 0.04  # share of the highest frequency up to which bands are about equally wide
PRIOR_WEIGHT = 1.0  # of the relation that sites share: as many frequencies of a band per modality
POWER_WEIGHT = 100  # of the power that sites share, in samples, beside the window's own
REACH = 8  # frequencies of a band at which the remaining uncertainty is worked out


class Prior:
    """How `batch` windows of `time` samples come from white coordinates (frequency, modality, window)."""

    def __init__(self, relation: SpectralRelation, time: int, mixing: Tensor | None = None) -> None:
        self.relation, self.time, self.mixing = relation, time, mixing
        self.values, self.vectors = relation.eigen()
        self.root = self.spread(self.values.sqrt())
        self.bands = _bands(relation.length // 2 + 1)

    def spread(self, gain: Tensor) -> Tensor:
        """The matrix with the eigenvectors of S and eigenvalues `gain` (frequency, modality)."""
        return (self.vectors * gain[:, None, :]) @ self.vectors.mH

    def mix(self, u: Tensor) -> Tensor:
        """K^½ u; its own adjoint."""
        if self.mixing is None:
            return u
        parts = u.permute(2, 1, 0).contiguous()
        mixed = [self.mixing[:, i] @ parts[..., a:b] for i, (a, b) in enumerate(self.bands)]
        return torch.cat(mixed, 2).permute(2, 1, 0).contiguous()

    def window(self, u: Tensor) -> Tensor:
        """From coordinates to the window (time, modality, window)."""
        length = self.relation.length
        x = torch.fft.irfft(torch.bmm(self.root, self.mix(u)), n=length, dim=0, norm="ortho")
        return x[: self.time]

    def adjoint(self, x: Tensor) -> Tensor:
        """The adjoint of `window`."""
        return self.mix(torch.bmm(self.root, self.spectrum(x)))

    def spectrum(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x, n=self.relation.length, dim=0, norm="ortho").contiguous()

    def coordinates(self, x: Tensor, noise: float) -> Tensor:
        """Expected coordinates of a complete window measured with noise, where K is the identity."""
        return torch.bmm(self.spread(self.values.sqrt() / (self.values + noise)), self.spectrum(x))

    def adapted(self, u: Tensor, seen: Tensor, noise: float) -> tuple[Prior, Tensor]:
        """The prior after one step of EM from posterior means `u`; and `u` in its coordinates.

        `seen` (time, modality, window). How uncertain `u` is follows in the mean field, from the share of
        each modality that is seen: samples missing here and there count as seen a little less exactly.
        """
        m = seen.shape[1]
        share = seen.sum(0).mT / self.relation.length
        eye, weight = torch.eye(m, device=u.device, dtype=u.dtype), PRIOR_WEIGHT * m
        mixing, moved = [], []
        u = u.permute(2, 1, 0)
        for i, (a, b) in enumerate(self.bands):
            half = eye.expand(len(share), m, m) if self.mixing is None else self.mixing[:, i]
            few = torch.linspace(a, b - 1, min(REACH, b - a), device=u.device).long()
            factor = self.root[few] @ half[:, None]
            given = factor.mH @ (share[:, None, :, None] * factor)
            left = noise * torch.linalg.inv(noise * eye + given).mean(1)
            moment = u[..., a:b] @ u[..., a:b].mH + (b - a) * left
            estimate = (weight * eye + half @ moment @ half) / (weight + b - a)
            values, vectors = torch.linalg.eigh(estimate)
            root = values.clamp(1e-3, 1e3).sqrt()
            mixing.append((vectors * root[:, None, :]) @ vectors.mH)
            back = (vectors / root[:, None, :]) @ vectors.mH @ half
            moved.append(back @ u[..., a:b])
        after = Prior(self.relation, self.time, torch.stack(mixing, 1))
        return after, torch.cat(moved, 2).permute(2, 1, 0).contiguous()


def conditional_mean(
    x: Tensor,
    seen: Tensor,
    relation: SpectralRelation,
    adaptations: int = 0,
    iterations: int = ITERATIONS,
    sample: torch.Generator | None = None,
    noise: float = NOISE,
) -> Tensor:
    """Mean of every sample given all that is seen, at all times and in all modalities.

    `x`, `seen` (batch, modality, time), zeros where not seen. Solves the normal equations
    (s² + Bᴴ M B) u = Bᴴ M x, where M is `seen` and x = B u, by conjugate gradients, anew after each of the
    `adaptations` to the window itself; these begin with its power, so that noise is a share of that too.
    With `sample`, one draw from the conditional distribution instead (Matheron's rule), so that variance is
    not lost when S is estimated from it.
    """
    prior, time = Prior(relation, x.shape[-1]), (2, 1, 0)
    scale = _scale(x, seen) if adaptations else 1.0
    x = x / scale
    start = same_instant(x, seen, relation.covariance())[0].permute(time)
    mask, y = seen.to(x.dtype).permute(time).contiguous(), x.permute(time).contiguous()
    if sample is not None:
        white = torch.randn((relation.length, *y.shape[1:]), generator=sample, device=x.device)
        drawn = prior.spectrum(white)
        errors = math.sqrt(noise) * torch.randn(y.shape, generator=sample, device=x.device)
        y = (y - prior.window(drawn) - errors) * mask
        start = start - prior.window(drawn)
    u = _solve(prior, y, mask, noise, iterations, prior.coordinates(start, noise))
    for _ in range(adaptations):
        prior, u = prior.adapted(u, mask, noise)
        u = _solve(prior, y, mask, noise, iterations, u)
    if sample is not None:
        u = u + drawn
    return prior.window(u).permute(time) * scale


def _scale(x: Tensor, seen: Tensor) -> Tensor:
    """Root mean square of what is seen of each window (batch, 1, 1), drawn a little towards 1."""
    count = seen.sum((1, 2), keepdim=True)
    power = torch.where(seen, x, 0.0).square().sum((1, 2), keepdim=True)
    return ((power + POWER_WEIGHT) / (count + POWER_WEIGHT)).sqrt()


def _solve(prior: Prior, y: Tensor, mask: Tensor, noise: float, iterations: int, u: Tensor) -> Tensor:
    """Conjugate gradients from `u`; the preconditioner knows what share is missing, but not where."""
    share = mask.mean((0, 1)) * prior.time / prior.relation.length
    damping = 1 / (noise + prior.values[:, :, None] * share)
    forth, back = prior.vectors.mH.contiguous(), prior.vectors

    def system(u: Tensor) -> Tensor:
        return noise * u + prior.adjoint(mask * prior.window(u))

    def precondition(r: Tensor) -> Tensor:
        return torch.bmm(back, torch.bmm(forth, r) * damping)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        # Over the whole circle of frequencies, of which only one half is held.
        inside = torch.linalg.vecdot(a.flatten(0, 1), b.flatten(0, 1), dim=0).real
        ends = (a[0].conj() * b[0]).real.sum(0)
        if prior.relation.length % 2 == 0:
            ends = ends + (a[-1].conj() * b[-1]).real.sum(0)
        return 2 * inside - ends

    r = prior.adjoint(mask * y) - system(u)
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
    bands = max(1, min(BANDS, frequencies // FULL))
    place = torch.arange(frequencies) / max(frequencies - 1, 1)
    band = (torch.log1p(place / WARP) / math.log1p(1 / WARP) * bands).long().clamp(max=bands - 1)
    edges = [0, *(band.diff().nonzero().flatten() + 1).tolist(), frequencies]
    return list(zip(edges, edges[1:], strict=False))
