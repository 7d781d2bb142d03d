"""The conditional distribution of a window given its observed samples, under a Gaussian process.

A window is x = S^½ u, where S is the cross-spectrum that all sites share and u are coordinates (frequency,
modality, window). Over the population u is white. In a single window it has a covariance K, one matrix per
window and frequency band, that describes how the window deviates from the population: the leads of one heart
are related more closely than those of hearts in general. The observed samples give u, u gives an estimate of
K, and K gives a better u. These are steps of EM (Dempster, Laird, Rubin 1977) towards the posterior mode of
K under an inverse Wishart prior around the identity.

Working in u needs no inverse of S, so that modalities which follow from others (limb leads) do no harm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.diffusion import cpu_randn
from condi_core.imputer.factorisation import MAX_SAMPLES, factorised_mean
from condi_core.imputer.interpolation import same_instant_regression

CG_ITERATIONS = 16  # iterations of conjugate gradients, and as many again after each EM step
NOISE_VARIANCE = 0.01  # assumed variance of the measurement noise, as a fraction of a modality's variance
BANDS = 8  # frequency bands with one K each: narrow at low frequencies, wide at high ones
MIN_BAND_BINS = 16  # smallest mean number of frequencies per band; short windows have fewer bands
BAND_WARP = 0.04  # fraction of the highest frequency below which bands are about equally wide
PRIOR_WEIGHT = 1.0  # weight of the population in K, in frequencies of a band per modality
POWER_WEIGHT = 100  # weight of the population's power against the window's own, in samples
QUADRATURE_BINS = 8  # frequencies of a band at which the remaining uncertainty is computed


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
        self.bands = _frequency_bands(self.fft_length // 2 + 1)

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
    precision : K⁻¹ of each band, Tensor (window, modality, modality); None: the identity, the population's
    """

    def __init__(self, prior: StationaryPrior, precision: list[Tensor] | None = None) -> None:
        self.prior = prior
        self.precision = precision

    def apply_precision(self, u: Tensor) -> Tensor:
        """Return K⁻¹ u."""
        if self.precision is None:
            return u
        by_window, bands = u.permute(2, 1, 0).contiguous(), self.prior.bands
        parts = [p @ by_window[..., a:b] for p, (a, b) in zip(self.precision, bands, strict=True)]
        return torch.cat(parts, 2).permute(2, 1, 0).contiguous()

    def em_step(self, u: Tensor, conditioning: Tensor, noise_variance: float) -> WindowCovariance:
        """Estimate K again from the posterior means of the coordinates.

        The uncertainty of `u` follows in the mean field from the fraction of each modality that is
        observed: samples missing here and there count as if all were observed a little less precisely.

        Parameters
        ----------
        u : Tensor (frequency, modality, window)
        conditioning : Tensor (time, modality, window), 1 where a sample is observed
        noise_variance : variance of the measurement noise

        Returns
        -------
        WindowCovariance
        """
        m, prior = conditioning.shape[1], self.prior
        fraction = conditioning.sum(0).mT / prior.fft_length
        eye, weight = torch.eye(m, device=u.device, dtype=u.dtype), PRIOR_WEIGHT * m
        precision, u = [], u.permute(2, 1, 0)
        for i, (a, b) in enumerate(prior.bands):
            previous = eye if self.precision is None else self.precision[i][:, None]
            bins = torch.linspace(a, b - 1, min(QUADRATURE_BINS, b - a), device=u.device).long()
            root = prior.root[bins]
            information = root.mH @ (fraction[:, None, :, None] * root)
            uncertainty = noise_variance * torch.linalg.inv(noise_variance * previous + information).mean(1)
            moment = u[..., a:b] @ u[..., a:b].mH + (b - a) * uncertainty
            estimate = (weight * eye + moment) / (weight + b - a)
            values, vectors = torch.linalg.eigh(estimate)
            precision.append((vectors / values.clamp(1e-3, 1e3)[:, None, :]) @ vectors.mH)
        return WindowCovariance(prior, precision)


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
    iterations : iterations of conjugate gradients, at first and again after each EM step
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
    few = conditioning.flatten(1).sum(1) <= max_factorised
    result = torch.empty_like(x)
    if few.any():
        result[few] = factorised_mean(x[few], conditioning[few], cross_spectrum, noise_variance)
    if not few.all():
        if initial is None:
            initial = same_instant_regression(x, conditioning, cross_spectrum.covariance())[0]
        mask, y, start = (t[~few].to(x.dtype).permute(order).contiguous() for t in (conditioning, x, initial))
        u = prior.whiten(start, noise_variance)
        u = _solve(WindowCovariance(prior), y, mask, noise_variance, iterations, u)
        result[~few] = prior.to_window(u).permute(order)
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
    mask, covariance = conditioning.to(x.dtype).permute(order).contiguous(), WindowCovariance(prior)
    u = _solve(covariance, y, mask, noise_variance, iterations, prior.whiten(start, noise_variance))
    for _ in range(em_steps):
        covariance = covariance.em_step(u, mask, noise_variance)
        u = _solve(covariance, y, mask, noise_variance, iterations, u)
    return prior.to_window(u).permute(order) * scale


def _window_scale(x: Tensor, conditioning: Tensor) -> Tensor:
    """Return the root mean square of each window's observed samples (batch, 1, 1), shrunk towards 1."""
    count = conditioning.sum((1, 2), keepdim=True)
    power = torch.where(conditioning, x, 0.0).square().sum((1, 2), keepdim=True)
    return ((power + POWER_WEIGHT) / (count + POWER_WEIGHT)).sqrt()


def _solve(
    covariance: WindowCovariance,
    y: Tensor,
    mask: Tensor,
    noise_variance: float,
    iterations: int,
    u: Tensor,
) -> Tensor:
    """Solve by preconditioned conjugate gradients from `u`.

    The preconditioner knows which fraction of the samples is missing, but not which of them.
    """
    prior = covariance.prior
    fraction = mask.mean((0, 1)) * prior.time / prior.fft_length
    damping = 1 / (noise_variance + prior.eigenvalues[:, :, None] * fraction)
    to_eigenbasis, from_eigenbasis = prior.eigenvectors.mH.contiguous(), prior.eigenvectors

    def apply_system(u: Tensor) -> Tensor:
        return noise_variance * covariance.apply_precision(u) + prior.apply_adjoint(mask * prior.to_window(u))

    def precondition(r: Tensor) -> Tensor:
        return torch.bmm(from_eigenbasis, torch.bmm(to_eigenbasis, r) * damping)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        # The product is over the whole circle of frequencies, of which only one half is stored.
        inside = torch.linalg.vecdot(a.flatten(0, 1), b.flatten(0, 1), dim=0).real
        ends = (a[0].conj() * b[0]).real.sum(0)
        if prior.fft_length % 2 == 0:
            ends = ends + (a[-1].conj() * b[-1]).real.sum(0)
        return 2 * inside - ends

    r = prior.apply_adjoint(mask * y) - apply_system(u)
    p = s = precondition(r)
    rs = dot(r, s)
    for _ in range(iterations):
        sp = apply_system(p)
        step = rs / dot(p, sp).clamp(min=1e-20)
        u, r = u + step * p, r - step * sp
        s = precondition(r)
        new = dot(r, s)
        p, rs = s + new / rs.clamp(min=1e-20) * p, new
    return u


def _frequency_bands(frequencies: int) -> list[tuple[int, int]]:
    """Return the first and the last (exclusive) frequency bin of each band."""
    bands = max(1, min(BANDS, frequencies // MIN_BAND_BINS))
    relative = torch.arange(frequencies) / max(frequencies - 1, 1)
    warped = torch.log1p(relative / BAND_WARP) / math.log1p(1 / BAND_WARP)
    band = (warped * bands).long().clamp(max=bands - 1)
    edges = [0, *(band.diff().nonzero().flatten() + 1).tolist(), frequencies]
    return list(zip(edges, edges[1:], strict=False))
