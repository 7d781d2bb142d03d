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
from condi_core.imputer.interpolation import linear_interpolation, same_instant_regression
from condi_core.imputer.wrong_gains import compute_shrinkage, wrong_gains
from condi_core.windows import RateGroup, Schema

CERTAIN_VARIANCE = 0.01  # conditional variance below which the modalities at one instant determine a sample
UNCERTAIN_VARIANCE = 0.1  # conditional variance above which the estimate of a missing modality is shrunk
EM_STEPS = 4  # that adapt the cross-spectrum to each window; short windows have too little data for it


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
                shrinkage = compute_shrinkage(y, mask, covariance)
                gain = torch.where(variance > UNCERTAIN_VARIANCE, gain * shrinkage, gain)
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
