"""Contrastive losses between the modalities of a window, for the methods that align them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_mean(features: Tensor, present: Tensor) -> Tensor:
    """Average `features` (batch, modality, width) over present modalities; 0 where there are none.

    Parameters
    ----------
    features : Tensor (batch, modality, width)
    present : bool Tensor (batch, modality)

    Returns
    -------
    Tensor (batch, width)
    """
    mask = present.to(features.dtype).unsqueeze(-1)
    return (features * mask).sum(1) / mask.sum(1).clamp(min=1)


def info_nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE (van den Oord et al. 2018, eq. 4): each anchor must find its own positive.

    Parameters
    ----------
    anchors, positives : Tensor (batch, width); rows of the same index belong together
    temperature : by which the cosine similarity is divided
    """
    similarity = F.normalize(anchors, dim=-1) @ F.normalize(positives, dim=-1).mT / temperature
    return F.cross_entropy(similarity, torch.arange(len(anchors), device=anchors.device))


def modality_contrastive_loss(features: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Contrast each modality with the mean of the other modalities of its window, over all windows.

    Only present modalities take part, in windows that have at least two. The loss is 0 where no two windows
    can be compared.

    Parameters
    ----------
    features : Tensor (batch, modality, width)
    present : bool Tensor (batch, modality)
    temperature : as in `info_nce`
    """
    total, terms = features.new_zeros(()), 0
    for modality in range(features.shape[1]):
        others = present.clone()
        others[:, modality] = False
        usable = present[:, modality] & others.any(1)
        if usable.sum() > 1:
            rest = masked_mean(features[usable], others[usable])
            total, terms = total + info_nce(features[usable, modality], rest, temperature), terms + 1
    return total / max(terms, 1)
