"""What was observed next to each sample, in time and within its modality, as inputs of the network.

The closed-form estimates weight observed samples as a stationary process does. How far they are away, and
what they were, lets the network weight them otherwise where values jump, or are rare and irregular in time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from condi_core.embeddings import merge_groups
from condi_core.windows import RateGroup

NEIGHBOUR_CHANNELS = 6
EQUAL_DIFFERENCE = 0.03  # of two samples that count as equal, in standard deviations


def describe_neighbours(groups: Sequence[RateGroup], x: Tensor, conditioning: Tensor) -> Tensor:
    """Describe the observed samples around every sample.

    Parameters
    ----------
    groups : the modalities grouped by their rate
    x : Tensor (batch, modality, patch, sample), standardised, 0 where not `conditioning`
    conditioning : Tensor of the same shape, bool: the observed samples

    Returns
    -------
    Tensor (batch, modality, patch, channel, sample): half the logarithm of 1 plus the number of samples to
    the last observed sample and to the next one, the values of both, the mean of the modality's observed
    samples, and whether both are equal, which falls from 1 to 0 with their difference. Where there is none,
    the number is that of the window, and the values are 0.
    """
    parts = []
    for group in groups:
        selected = group.select(x)
        y, observed = selected.flatten(2), group.select(conditioning).flatten(2)
        length = y.shape[-1]
        time = torch.arange(length, device=y.device).expand_as(y)
        last = torch.where(observed, time, -1).cummax(-1).values
        following = torch.where(observed, time, length).flip(-1).cummin(-1).values.flip(-1)
        mean = y.sum(-1, keepdim=True) / observed.sum(-1, keepdim=True).clamp(min=1)
        before = torch.where(last < 0, 0.0, y.gather(-1, last.clamp(min=0)))
        after = torch.where(following == length, 0.0, y.gather(-1, following.clamp(max=length - 1)))
        channels = [
            torch.where(last < 0, length, time - last).to(y.dtype).log1p() / 2,
            torch.where(following == length, length, following - time).to(y.dtype).log1p() / 2,
            before,
            after,
            mean.expand_as(y),
            torch.exp(-(before - after).abs() / EQUAL_DIFFERENCE) * ((last >= 0) & (following < length)),
        ]
        grid = torch.stack([channel.view_as(selected) for channel in channels], 3)
        parts.append(F.pad(grid, (0, x.shape[-1] - group.samples)))
    return merge_groups(groups, parts)
