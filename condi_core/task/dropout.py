"""Random loss of modalities and of stretches of time, beyond what windows already miss, during training."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_modalities(observed: Tensor, rate: Tensor, generator: torch.Generator | None) -> Tensor:
    """Hide modalities of windows at random.

    Parameters
    ----------
    observed : bool Tensor (batch, modality, patch, sample)
    rate : Tensor (batch,), probability that a modality of a window is hidden
    generator : source of random numbers, on the CPU; None: that of torch

    Returns
    -------
    bool Tensor of the same shape, what stays observed; a window keeps at least one of its modalities
    """
    chance = torch.rand(observed.shape[:2], generator=generator).to(observed.device)
    present = observed.flatten(2).any(-1)
    # Of the present modalities the one with the largest number stays.
    last = torch.where(present, chance, -1.0).argmax(1, keepdim=True)
    stays = (chance >= rate[:, None]).scatter(1, last, True)
    return observed & stays[:, :, None, None]


def drop_stretches(observed: Tensor, rate: Tensor, generator: torch.Generator | None) -> Tensor:
    """Hide a stretch of consecutive patches in each modality of windows, at a random place.

    Parameters
    ----------
    observed : bool Tensor (batch, modality, patch, sample)
    rate : Tensor (batch,), share of the patches that the stretch has, at most 1
    generator : source of random numbers, on the CPU; None: that of torch

    Returns
    -------
    bool Tensor of the same shape, what stays observed
    """
    patches = observed.shape[2]
    length = (rate * patches).round()[:, None]
    place = torch.rand(observed.shape[:2], generator=generator).to(observed.device)
    start = (place * (patches - length + 1)).floor()[..., None]
    time = torch.arange(patches, device=observed.device)
    is_lost = (time >= start) & (time < start + length[..., None])
    return observed & ~is_lost[..., None]
