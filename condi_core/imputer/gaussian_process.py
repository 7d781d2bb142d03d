"""The conditional distribution of a window given its observed samples, under a Gaussian process.

Windows with few observed samples are solved exactly, others by conjugate gradients in coordinates that are
white over the population (`window_covariance`). The observed samples give these coordinates, the coordinates
give an estimate of the window's own covariance, and that gives better coordinates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.diffusion import cpu_randn
from condi_core.imputer.factorisation import MAX_SAMPLES, factorised_mean
from condi_core.imputer.interpolation import same_instant_regression
from condi_core.imputer.window_covariance import StationaryPrior, WindowCovariance

CG_ITERATIONS = 16  # iterations of conjugate gradients; half as many before each EM step
NOISE_VARIANCE = 0.01  # assumed variance of the measurement noise, as a fraction of a modality's variance
POWER_WEIGHT = 100  # weight of the population's power against the window's own, in samples


def conditional_mean(
    x: Tensor,
    conditioning: Tensor,
    cross_spectrum: CrossSpectrum,
    em_steps: int = 0,
    iterations: int = CG_ITERATIONS,
    generator: torch.Generator | None = None,
    noise_variance: float = NOISE_VARIANCE,
    initial: Tensor | None = None,
    max_factorised: int = MAX_SAMPLES,
) -> Tensor:
    """Estimate every sample given all observed samples, at all times and in all modalities.

    Solves the normal equations (s² K⁻¹ + Bᴴ M B) u = Bᴴ M x by conjugate gradients, where M is
    `conditioning` and x = B u, and again after each of the `em_steps` that adapt K to the window. With
    `em_steps` the window is first divided by its root mean square, so that the noise is a fraction of the
    window's own power. Without, windows of at most `max_factorised` observed samples are solved exactly.

    With a `generator` the result is one draw from the conditional distribution (Matheron's rule), so that
    variance is not lost when S is estimated from it. Draws are those of the population.

    Parameters
    ----------
    x : Tensor (batch, modality, time), standardised, 0 where not `conditioning`
    conditioning : Tensor of the same shape, bool: the observed samples
    cross_spectrum : S of these modalities
    em_steps : EM steps that adapt K to each window
    iterations : iterations of conjugate gradients at the end; half as many before each EM step
    generator : source of the draw; None: the mean
    noise_variance : s², the variance of the measurement noise
    initial : Tensor like `x`, the estimate to start from; None: regression on the same instant
    max_factorised : observed samples up to which a window is solved by a factorisation; 0: never

    Returns
    -------
    Tensor (batch, modality, time)

    Raises
    ------
    ValueError
        A draw is asked for with `em_steps` above 0.
    """
    if em_steps and generator is not None:
        raise ValueError(f"a draw follows the shared cross-spectrum: set em_steps to 0, not {em_steps}")
    prior, order = StationaryPrior(cross_spectrum, x.shape[-1]), (2, 1, 0)
    if em_steps:
        return _adapted_mean(prior, x, conditioning, em_steps, iterations, noise_variance, initial)
    draw = torch.zeros_like(x)
    if generator is not None:
        shape = x.permute(order).shape
        white = cpu_randn((prior.fft_length, *shape[1:]), generator, x.device)
        draw = prior.to_window(prior.to_spectrum(white)).permute(order)
        noise = math.sqrt(noise_variance) * cpu_randn(shape, generator, x.device).permute(order)
        x = torch.where(conditioning, x - draw - noise, 0.0)
    is_small = conditioning.flatten(1).sum(1) <= max_factorised
    result = torch.empty_like(x)
    if is_small.any():
        result[is_small] = factorised_mean(
            x[is_small], conditioning[is_small], cross_spectrum, noise_variance
        )
    if not is_small.all():
        if initial is None:
            initial = same_instant_regression(x, conditioning, cross_spectrum.covariance())[0]
        mask, y, start = (
            t[~is_small].to(x.dtype).permute(order).contiguous() for t in (conditioning, x, initial)
        )
        u = _by_window(prior.whiten(start, noise_variance))
        u = _solve(WindowCovariance(prior, mask, noise_variance), y, iterations, u)
        result[~is_small] = prior.to_window(_by_window(u)).permute(order)
    return result + draw


def _adapted_mean(
    prior: StationaryPrior,
    x: Tensor,
    conditioning: Tensor,
    em_steps: int,
    iterations: int,
    noise_variance: float,
    initial: Tensor | None,
) -> Tensor:
    """Estimate every sample under a covariance of the coordinates that is adapted to each window."""
    if initial is None:
        initial = same_instant_regression(x, conditioning, prior.covariance)[0]
    scale, order = _window_scale(x, conditioning), (2, 1, 0)
    y, start = ((t / scale).permute(order).contiguous() for t in (x, initial))
    mask = conditioning.to(x.dtype).permute(order).contiguous()
    covariance = WindowCovariance(prior, mask, noise_variance)
    u = _by_window(prior.whiten(start, noise_variance))
    for _ in range(em_steps):
        # K need not be exact, since more steps follow, and each starts where the one before has ended.
        u = _solve(covariance, y, iterations // 2, u)
        covariance = covariance.em_step(u)
    u = _solve(covariance, y, iterations, u)
    return prior.to_window(_by_window(u)).permute(order) * scale


def _window_scale(x: Tensor, conditioning: Tensor) -> Tensor:
    """Return the root mean square of each window's observed samples (batch, 1, 1), shrunk towards 1."""
    count = conditioning.sum((1, 2), keepdim=True)
    power = torch.where(conditioning, x, 0.0).square().sum((1, 2), keepdim=True)
    return ((power + POWER_WEIGHT) / (count + POWER_WEIGHT)).sqrt()


def _solve(covariance: WindowCovariance, y: Tensor, iterations: int, u: Tensor) -> Tensor:
    """Solve for the coordinates (window, modality, frequency) by preconditioned conjugate gradients from `u`.

    Vectors of the iteration have one contiguous stretch per window, which is what sums over windows need.
    """
    prior, mask, noise_variance = covariance.prior, covariance.conditioning, covariance.noise_variance

    def apply_system(u: Tensor) -> Tensor:
        data = prior.apply_adjoint(mask * prior.to_window(_by_window(u)))
        return _by_window(data).add_(covariance.apply_precision(u), alpha=noise_variance)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        # The product is over the whole circle of frequencies, of which only one half is stored.
        total = 2 * _real_products(a, b) - _real_products(a[..., :1], b[..., :1])
        if prior.fft_length % 2 == 0:
            total = total - _real_products(a[..., -1:], b[..., -1:])
        return total[:, None, None]

    r = _by_window(prior.apply_adjoint(mask * y)) - apply_system(u)
    p = s = covariance.precondition(r)
    rs = dot(r, s)
    for _ in range(iterations):
        sp = apply_system(p)
        step = rs / dot(p, sp).clamp(min=1e-20)
        u, r = u + step * p, r - step * sp
        s = covariance.precondition(r)
        new = dot(r, s)
        p, rs = s + new / rs.clamp(min=1e-20) * p, new
    return u


def _by_window(x: Tensor) -> Tensor:
    """Bring (frequency, modality, window) to (window, modality, frequency), and back."""
    return x.permute(2, 1, 0).contiguous()


def _real_products(a: Tensor, b: Tensor) -> Tensor:
    """Return the real part of the inner product of each window (window,)."""
    a, b = (torch.view_as_real(x.contiguous()).flatten(1) for x in (a, b))
    return (a[:, None] @ b[:, :, None])[:, 0, 0]
