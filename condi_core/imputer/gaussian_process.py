"""The conditional distribution of a window given its observed samples, under a Gaussian process.

Windows with few observed samples are solved exactly (`factorisation`), others by conjugate gradients. Let z
be the complete window as it would be measured, with noise of variance s², and Q the inverse of its covariance
C. The process is stationary on a circle that extends beyond the window, so that C and Q are filters, with one
matrix per frequency. Given the observed samples z_o, the mean of the missing ones, z_m, solves

    Q_mm z_m = -Q_mo z_o,

and the mean of the window without noise is x = z - s² Q z. Conjugate gradients for z_m need about half the
iterations of those for coordinates of the whole window: observed samples hold exactly from the start, and
given observed neighbours, missing samples depend little on each other, so that Q_mm is well conditioned. Only
long gaps make it less so. The preconditioner takes observed samples for information that is spread evenly
over time, which makes it a filter as well, (Q + D)⁻¹ with a diagonal D (`window_covariance`).

The completed window gives an estimate of its own covariance, and that completes it better (EM).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.diffusion import cpu_randn
from condi_core.imputer.factorisation import MAX_SAMPLES, factorised_mean
from condi_core.imputer.interpolation import same_instant_regression
from condi_core.imputer.window_covariance import MAX_BLOCKS, StationaryPrior, WindowCovariance

CG_ITERATIONS = 14  # of conjugate gradients, half as many before each EM step: gaps take the most
NOISE_VARIANCE = 0.01  # assumed variance of the measurement noise, as a fraction of a modality's variance
POWER_WEIGHT = 100  # weight of the population's power against the window's own, in samples


def conditional_mean(
    x: Tensor,
    conditioning: Tensor,
    cross_spectrum: CrossSpectrum,
    em_steps: int = 0,
    iterations: int = CG_ITERATIONS,
    generator: torch.Generator | None = None,
    initial: Tensor | None = None,
    max_factorised: int = MAX_SAMPLES,
) -> Tensor:
    """Estimate every sample given all observed samples, at all times and in all modalities.

    Solves for the missing samples by conjugate gradients, and again after each of the `em_steps` that adapt Q
    to the window. With `em_steps` the window is first divided by its root mean square, so that the noise is a
    fraction of the window's own power. Without, windows of at most `max_factorised` observed samples are
    solved exactly.

    With a `generator` the result is one draw from the conditional distribution (Matheron's rule), so that
    variance is not lost when S is estimated from it. Draws are those of the population.

    Parameters
    ----------
    x : Tensor (batch, modality, time), standardised, 0 where not `conditioning`
    conditioning : Tensor of the same shape, bool: the observed samples
    cross_spectrum : S of these modalities
    em_steps : EM steps that adapt Q to each window
    iterations : iterations of conjugate gradients at the end; half as many before each EM step
    generator : source of the draw; None: the mean
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
    draw = torch.zeros_like(x)
    if generator is not None:
        draw, noise = _draw_population(x, cross_spectrum, generator)
        x = torch.where(conditioning, x - draw - math.sqrt(NOISE_VARIANCE) * noise, 0.0)
    # Adapting takes iterations, except for a window without observed samples.
    is_small = conditioning.flatten(1).sum(1) <= (0 if em_steps else max_factorised)
    result = torch.empty_like(x)
    if is_small.any():
        result[is_small] = factorised_mean(
            x[is_small], conditioning[is_small], cross_spectrum, NOISE_VARIANCE
        )
    if not is_small.all():
        if initial is None:
            initial = same_instant_regression(x, conditioning, cross_spectrum.covariance())[0]
        x, conditioning, initial = (t[~is_small] for t in (x, conditioning, initial))
        result[~is_small] = _iterated_mean(x, conditioning, cross_spectrum, em_steps, iterations, initial)
    return result + draw


def _draw_population(
    x: Tensor, cross_spectrum: CrossSpectrum, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw windows from the population, and standard normal noise, in the shape of `x`."""
    root, fft_length = StationaryPrior(cross_spectrum).root, cross_spectrum.fft_length
    windows, modalities, time = x.shape
    white = cpu_randn((fft_length, modalities, windows), generator, x.device)
    spectrum = torch.bmm(root, torch.fft.rfft(white, dim=0, norm="ortho"))
    draw = torch.fft.irfft(spectrum, n=fft_length, dim=0, norm="ortho")[:time]
    noise = cpu_randn((time, modalities, windows), generator, x.device)
    return draw.permute(2, 1, 0), noise.permute(2, 1, 0)


def _iterated_mean(
    x: Tensor,
    conditioning: Tensor,
    cross_spectrum: CrossSpectrum,
    em_steps: int,
    iterations: int,
    initial: Tensor,
) -> Tensor:
    """Estimate every sample by conjugate gradients, under a covariance that is adapted to each window."""
    prior = StationaryPrior(cross_spectrum, MAX_BLOCKS if em_steps else None)
    scale = _window_scale(x, conditioning) if em_steps else torch.ones_like(x[:, :1, :1])
    beyond = (0, prior.fft_length - x.shape[-1])
    z = F.pad(torch.where(conditioning, x, initial) / scale, beyond)
    missing = F.pad((~conditioning).to(x.dtype), beyond, value=1.0)
    covariance = WindowCovariance(prior, 1 - missing.mean(2), NOISE_VARIANCE)
    for _ in range(em_steps):
        # K need not be exact, since more steps follow, and each starts where the one before has ended.
        z = _complete(covariance, z, missing, iterations // 2)
        covariance = covariance.em_step(z)
    z = _complete(covariance, z, missing, iterations)
    noise = NOISE_VARIANCE * prior.filter(covariance.inverse, z)
    return (z - noise)[..., : x.shape[-1]] * scale


def _window_scale(x: Tensor, conditioning: Tensor) -> Tensor:
    """Return the root mean square of each window's observed samples (batch, 1, 1), shrunk towards 1."""
    count = conditioning.sum((1, 2), keepdim=True)
    power = torch.where(conditioning, x, 0.0).square().sum((1, 2), keepdim=True)
    return ((power + POWER_WEIGHT) / (count + POWER_WEIGHT)).sqrt()


def _complete(covariance: WindowCovariance, z: Tensor, missing: Tensor, iterations: int) -> Tensor:
    """Solve for the missing samples of windows by preconditioned conjugate gradients.

    Parameters
    ----------
    covariance : of the windows
    z : Tensor (window, modality, time) on the circle; missing samples are those to start from
    missing : Tensor of the same shape, 1 where a sample is missing, 0 where it is observed
    iterations : of conjugate gradients

    Returns
    -------
    Tensor like `z`, with the same observed samples
    """

    def apply(matrices: Tensor, x: Tensor) -> Tensor:
        return missing * covariance.prior.filter(matrices, x)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2), keepdim=True)

    residual = -apply(covariance.inverse, z)
    direction, previous = torch.zeros_like(z), torch.ones_like(z[:, :1, :1])
    for _ in range(iterations):
        preconditioned = apply(covariance.preconditioner, residual)
        decrease = dot(residual, preconditioned)
        direction = preconditioned + decrease / previous.clamp(min=1e-20) * direction
        product = apply(covariance.inverse, direction)
        step = decrease / dot(direction, product).clamp(min=1e-20)
        z, residual, previous = z + step * direction, residual - step * product, decrease
    return z
