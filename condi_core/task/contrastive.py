"""Contrastive losses between the modalities of a window, for the methods that align them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_over(features: Tensor, present: Tensor) -> Tensor:
    """Mean `(batch, width)` of features (batch, modality, width) over present modalities, 0 without any."""
    share = present.to(features.dtype).unsqueeze(-1)
    return (features * share).sum(1) / share.sum(1).clamp(min=1)


def contrast(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, eq. 4): each row of `one` must find its own row of `two`.

    Both (batch, width); similarity is the cosine over `temperature`.
    """
    similarity = F.normalize(one, dim=-1) @ F.normalize(two, dim=-1).mT / temperature
    return F.cross_entropy(similarity, torch.arange(len(one), device=one.device))


def between_modalities(features: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Each modality must find its own window among the means of the window's other modalities.

    `features` (batch, modality, width); only `present` (batch, modality) ones take part, in windows that
    have two or more of them. 0 where no two windows can be compared.
    """
    total, terms = features.new_zeros(()), 0
    for place in range(features.shape[1]):
        others = present.clone()
        others[:, place] = False
        usable = present[:, place] & others.any(1)
        if usable.sum() > 1:
            rest = mean_over(features[usable], others[usable])
            total, terms = total + contrast(features[usable, place], rest, temperature), terms + 1
    return total / max(terms, 1)
