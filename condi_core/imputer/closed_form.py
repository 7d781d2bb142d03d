"""Closed-form estimates of every sample of a window, at each modality's own rate.

Modalities of one rate share a time axis and a cross-spectrum. Between modalities of different rates there is
no closed form here, since how a slow envelope depends on a fast wave is not linear: relating those is left
to the attention across modalities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.gaussian_process import conditional_mean
from condi_core.imputer.interpolation import (
    linear_interpolation,
    mahalanobis_distance,
    same_instant_regression,
)
from condi_core.windows import RateGroup, Schema

CERTAIN_VARIANCE = 0.01  # conditional variance below which the modalities at one instant determine a sample
UNCERTAIN_VARIANCE = 0.1  # above which an absent modality is not determined if gains may be wrong
EM_STEPS = 4  # that adapt the cross-spectrum to each window; short windows have too little data for it
MAX_GAIN = (
    3.0  # largest ratio of a modality's amplitude in a window to the median one that is not a wrong gain
)
GAIN_WEIGHT = 20  # samples that the usual power of a modality counts as, against those of the window
MAX_MISFIT = 2.0  # of a window whose gains are taken to be right; over the population it is 1 on average


class References(NamedTuple):
    """Closed-form estimates of a window, each `(batch, modality, patch, sample)` in standardised units.

    Attributes
    ----------
    conditional_mean : given all observed samples, at all times and in all modalities of the same rate
    same_instant : given the samples observed at the same instant
    interpolation : linear interpolation in time within each modality
    """

    conditional_mean: Tensor
    same_instant: Tensor
    interpolation: Tensor


class SpectrumStatistics(NamedTuple):
    """What the windows of a batch contribute to the estimate of one cross-spectrum.

    Attributes
    ----------
    name : of the cross-spectrum, as a submodule of `ClosedFormEstimates`
    members : positions of its modalities among all modalities
    spectra : Tensor (modality, modality, frequency, 2), a sum that is to be divided by `counts`
    counts : Tensor (modality, modality), float64
    """

    name: str
    members: tuple[int, ...]
    spectra: Tensor
    counts: Tensor


class ClosedFormEstimates(nn.Module):
    """One cross-spectrum per rate, and the estimates that follow from it for a window."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.groups = schema.rate_groups
        self.cross_spectra = nn.ModuleList(
            CrossSpectrum(group.members, schema.patches * group.samples) for group in self.groups
        )

    def forward(self, x: Tensor, conditioning: Tensor) -> References:
        """Compute the estimates of all samples.

        Parameters
        ----------
        x : Tensor (batch, modality, patch, sample), standardised, 0 where not `conditioning`
        conditioning : Tensor of the same shape, bool: what the estimates may use
        """
        references = References(torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))
        for group, cross_spectrum in self._by_rate():
            selected = group.select(x)
            y, mask = selected.flatten(2), group.select(conditioning).flatten(2)
            covariance, gain = cross_spectrum.covariance(), torch.ones_like(y[..., :1])
            if not cross_spectrum.is_short:
                gain = wrong_gains(y, mask)
            y = y / gain
            instant, variance = same_instant_regression(y, mask, covariance)
            lines = linear_interpolation(y, mask)
            initial = torch.lerp(instant, lines, variance.clamp(max=1))
            em_steps = 0 if cross_spectrum.is_short else EM_STEPS
            mean = conditional_mean(y, mask, cross_spectrum, em_steps, initial=initial)
            mean = torch.where(variance < CERTAIN_VARIANCE, instant, mean)
            if not cross_spectrum.is_short:
                trust = trust_in_absent(y, mask, covariance)
                gain = torch.where(variance > UNCERTAIN_VARIANCE, gain * trust, gain)
            for reference, estimate in zip(references, (mean, instant, lines), strict=True):
                estimate = (estimate * gain).view_as(selected)
                reference[:, list(group.members), :, : group.samples] = estimate
        return references

    def covariances(self) -> list[Tensor]:
        """Return the covariance of the modalities of each rate at one instant."""
        return [cross_spectrum.covariance() for _, cross_spectrum in self._by_rate()]

    def sufficient_statistics(
        self, x: Tensor, observed: Tensor, initial: bool, generator: torch.Generator
    ) -> Iterator[SpectrumStatistics]:
        """Compute what windows contribute to each cross-spectrum.

        Parameters
        ----------
        x, observed : Tensor (batch, modality, patch, sample), standardised
        initial : True in the first round, for covariances over samples observed at the same instant; False
            for one step of EM, the cross-periodograms of windows completed by draws, which have every pair
        generator : source of the draws

        Yields
        ------
        SpectrumStatistics, one per rate
        """
        for i, (group, cross_spectrum) in enumerate(self._by_rate()):
            y, mask = group.select(x).flatten(2), group.select(observed).flatten(2)
            if initial:
                spectrum, counts = cross_spectrum.initial_covariance(y, mask)
                spectra = spectrum * counts[:, :, None, None]
            else:
                draw = conditional_mean(y, mask, cross_spectrum, generator=generator)
                spectra = cross_spectrum.sum_periodograms(torch.where(mask, y, draw))
                counts = y.new_full(spectra.shape[:2], len(y), dtype=torch.float64)
            yield SpectrumStatistics(f"cross_spectra.{i}", group.members, spectra, counts)

    def _by_rate(self) -> Iterator[tuple[RateGroup, CrossSpectrum]]:
        return zip(self.groups, cast(Iterable[CrossSpectrum], self.cross_spectra), strict=True)


def wrong_gains(x: Tensor, observed: Tensor) -> Tensor:
    """Return the factor by which the amplitude of each modality of a window exceeds what is plausible.

    A gain in a file's header can be wrong by any factor, lead by lead, and relations to other leads are then
    wrong by the same factor. It shows in that the power of the lead is far from those of the others.

    Parameters
    ----------
    x, observed : Tensor (batch, modality, time), standardised

    Returns
    -------
    Tensor (batch, modality, 1), 1 where the amplitude is within `MAX_GAIN` of the median one
    """
    count = observed.sum(2, keepdim=True)
    power = torch.where(observed, x, 0.0).square().sum(2, keepdim=True)
    amplitude = ((power + GAIN_WEIGHT) / (count + GAIN_WEIGHT)).sqrt()
    # Of the modalities that were observed; without any, all amplitudes are 1.
    median = torch.where(count > 0, amplitude, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(1.0)
    ratio = torch.where(count > 0, amplitude / median, 1.0)
    return ratio / ratio.clamp(1 / MAX_GAIN, MAX_GAIN)


def trust_in_absent(x: Tensor, observed: Tensor, covariance: Tensor) -> Tensor:
    """Return the factor of uncertain estimates of modalities that are absent from a window.

    Where gains are wrong by factors that differ between modalities, observed modalities contradict what
    holds between them at one instant, such as that lead II is the sum of leads I and III. The estimate of an
    absent modality is then wrong by an unknown factor, and on average worse than the mean.

    Parameters
    ----------
    x, observed : Tensor (batch, modality, time), standardised
    covariance : Tensor (modality, modality) of the modalities at one instant

    Returns
    -------
    Tensor (batch, modality, 1), 1 where a modality was observed, or where the misfit is at most `MAX_MISFIT`:
    the squared Mahalanobis distance of what was observed from 0, divided by its sum of squares
    """
    is_absent = ~observed.any(2, keepdim=True)
    if not is_absent.any():
        return torch.ones_like(x[..., :1])
    power = torch.where(observed, x, 0.0).square().sum((1, 2))
    misfit = mahalanobis_distance(x, observed, covariance) / power.clamp(min=1e-9)
    trust = (MAX_MISFIT / misfit.clamp(min=MAX_MISFIT)) ** 4
    return torch.where(is_absent, trust[:, None, None], 1.0)
