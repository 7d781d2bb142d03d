"""The references of a whole window: closed-form estimates of every sample, at each modality's own rate.

Modalities of one rate share a time axis and a cross-spectral relation. Between modalities of different rates
there is no closed form here (what a slow envelope has to do with a fast wave is not linear): relating those
is left to the attention across modalities.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.gaussian_process import conditional_mean
from condi_core.imputer.interpolation import linear_interpolation, same_instant
from condi_core.windows import Schema

CERTAIN_VARIANCE = (
    0.01  # conditional variance below which the other modalities at that instant settle a sample
)
EM_STEPS = 4  # of the relation to the window itself
NUM_ESTIMATES = 3  # conditional mean, same-instant mean, linear interpolation


class ClosedFormEstimates(nn.Module):
    """One `CrossSpectrum` per rate, and what follows from it for a window."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.groups = schema.rate_groups
        self.relations = nn.ModuleList(
            CrossSpectrum(group.members, schema.patches * group.samples) for group in self.groups
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """`(batch, modality, patch, reference, sample)` of standardised `x`, which is 0 where not `seen`."""
        reference = x.new_zeros((*x.shape[:3], NUM_ESTIMATES, x.shape[3]))
        for group, relation in zip(self.groups, self.relations, strict=True):
            own = group.of(x)
            y, mask = own.flatten(2), group.of(seen).flatten(2)
            instant, variance = same_instant(y, mask, relation.covariance())
            lines = linear_interpolation(y, mask)
            start = torch.lerp(instant, lines, variance.clamp(max=1))
            estimate = conditional_mean(y, mask, relation, EM_STEPS, start=start)
            estimate = torch.where(variance < CERTAIN_VARIANCE, instant, estimate)
            found = torch.stack([r.view_as(own) for r in (estimate, instant, lines)], dim=3)
            reference[:, list(group.members), ..., : group.samples] = found
        return reference

    def evidence(
        self, x: Tensor, seen: Tensor, first: bool, generator: torch.Generator
    ) -> Iterator[tuple[str, tuple[int, ...], Tensor, Tensor]]:
        """What windows say of each relation: its name, members, a sum of spectra, counts to divide it by.

        At `first` covariances of samples seen together; else one step of EM, the cross-periodograms of
        windows completed by draws, which have every pair of modalities.
        """
        for place, (group, relation) in enumerate(zip(self.groups, self.relations, strict=True)):
            y, mask = group.of(x).flatten(2), group.of(seen).flatten(2)
            if first:
                spectrum, counts = relation.moments(y, mask)
                spectra = spectrum * counts[:, :, None, None]
            else:
                drawn = conditional_mean(y, mask, relation, sample=generator)
                spectra = relation.periodograms(torch.where(mask, y, drawn))
                counts = y.new_full(spectra.shape[:2], len(y), dtype=torch.float64)
            yield f"relations.{place}", group.members, spectra, counts
