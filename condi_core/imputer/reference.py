"""Closed-form references in standardised units: what can be known without a network.

From simple to strong: linear interpolation in time, least squares from the other modalities at the
same instant, and the conditional mean of the Gaussian process with the cross-spectral matrix of
`SpectralRelation`. All take `x` and `seen` as `(batch, modality, time)`, zeros where not seen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condi_core.imputer.relation import SpectralRelation

NOISE = 0.01  # variance of measurement noise assumed by the conditional mean


def linear_interpolation(x: Tensor, seen: Tensor) -> Tensor:
    """Straight lines between seen samples, the nearest one beyond the ends, 0 where nothing is seen."""
    length = x.shape[-1]
    time = torch.arange(length, device=x.device).expand_as(x)
    before = torch.where(seen, time, -1).cummax(-1).values
    after = torch.where(seen, time, length).flip(-1).cummin(-1).values.flip(-1)
    left = x.gather(-1, before.clamp(min=0))
    right = x.gather(-1, after.clamp(max=length - 1))
    left = torch.where(before < 0, right, left)
    right = torch.where(after >= length, left, right)
    share = (time - before) / (after - before).clamp(min=1)
    filled = torch.where((before < 0) | (after >= length), left, left + (right - left) * share)
    return torch.where(seen.any(-1, keepdim=True), filled, 0.0)


def same_instant(x: Tensor, seen: Tensor, covariance: Tensor, noise: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Conditional mean and variance of every sample given all modalities seen at that instant."""
    # Rows and columns of unseen modalities become those of the identity: one solve for all patterns.
    s = seen.transpose(1, 2).to(x.dtype)
    eye = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    gram = s[..., :, None] * (covariance + noise * eye) * s[..., None, :] + torch.diag_embed(1 - s)
    to_seen = covariance * s[..., None, :]
    gain = torch.linalg.solve(gram, to_seen.mT).mT
    mean = (gain @ x.transpose(1, 2)[..., None]).squeeze(-1)
    variance = covariance.diagonal() - (gain * to_seen).sum(-1)
    return mean.transpose(1, 2), variance.clamp(min=0).transpose(1, 2)


def conditional_mean(
    x: Tensor,
    seen: Tensor,
    relation: SpectralRelation,
    iterations: int = 12,
    start: Tensor | None = None,
    sample: torch.Generator | None = None,
) -> Tensor:
    """Mean of every sample given all that is seen, at all times and in all modalities.

    Solves (M + s² S⁻¹) z = M x by conjugate gradients from `start` (default: `same_instant`); S⁻¹ is
    applied in the eigenbasis of S at each frequency, which also gives the preconditioner. With `sample`,
    one draw from the conditional distribution instead (Matheron's rule), so that variance is not lost
    when S is estimated from it.
    """
    values, vectors = relation.eigen()
    length, time = relation.length, x.shape[-1]
    mask = torch.nn.functional.pad(seen.to(x.dtype), (0, length - time))
    y = torch.nn.functional.pad(x, (0, length - time))

    def spectral(z: Tensor, gain: Tensor) -> Tensor:
        """Multiply every frequency of `z` by U diag(gain) Uᴴ; `gain` (batch or 1, eigenvalue, frequency)."""
        coordinates = torch.einsum("fmk,bmf->bkf", vectors.conj(), torch.fft.rfft(z, dim=-1)) * gain
        return torch.fft.irfft(torch.einsum("fmk,bkf->bmf", vectors, coordinates), n=length, dim=-1)

    draw = None
    if sample is not None:
        white = torch.randn(y.shape, generator=sample, device=x.device)
        draw = spectral(white, values.sqrt().mT[None])
        y = (y - draw - NOISE**0.5 * torch.randn(y.shape, generator=sample, device=x.device)) * mask
    share = seen.to(x.dtype).mean((1, 2)).mul(time / length).clamp(min=1e-3)[:, None, None]
    precision = NOISE / values.mT[None]

    def system(z: Tensor) -> Tensor:
        return mask * z + spectral(z, precision)

    def precondition(r: Tensor) -> Tensor:
        return spectral(r, 1 / (share + precision))

    if start is None:
        start = same_instant(y[..., :time], seen, relation.covariance())[0]
    z = torch.nn.functional.pad(start, (0, length - time))
    z = _conjugate_gradients(system, precondition, mask * y, z, iterations)
    if draw is not None:
        z = z + draw
    return z[..., :time]


def _conjugate_gradients(system, precondition, right: Tensor, z: Tensor, iterations: int) -> Tensor:
    """`iterations` steps of preconditioned conjugate gradients for each window of the batch."""
    r = right - system(z)
    p = s = precondition(r)
    rs = (r * s).sum((1, 2), keepdim=True)
    for _ in range(iterations):
        sp = system(p)
        step = rs / (p * sp).sum((1, 2), keepdim=True).clamp(min=1e-20)
        z, r = z + step * p, r - step * sp
        s = precondition(r)
        new = (r * s).sum((1, 2), keepdim=True)
        p, rs = s + new / rs.clamp(min=1e-20) * p, new
    return z
