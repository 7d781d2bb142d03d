"""What the models learn about modalities: identity, relation of each source to each target, own weights.

Every table has the modality (or target and source) as its leading axis, so that a site's rows can be
averaged with the rows of the sites that have the same modality, and with no others (see `ownership`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModalityEmbedding(nn.Module):
    """W_mod: the identity of a modality, added to all its tokens."""

    owners = {"weight": "modality"}

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(modalities, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens` (batch, modality, patch, width)."""
        return tokens + self.weight[:, None, :]


class CrossModalEmbedding(nn.Module):
    """W_cond: what a source modality is worth to a target, `(target, source, width)`."""

    owners = {"weight": "pair"}

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(modalities, modalities, width))

    def forward(self, to_heads: nn.Linear) -> Tensor:
        """Attention bias `(head, target, source)` as one block of a network reads the embedding."""
        return to_heads(self.weight).permute(2, 0, 1)


class PerModalityLinear(nn.Module):
    """A linear layer with weights of its own for each modality; all start from the same weights."""

    owners = {"weight": "modality", "bias": "modality"}

    def __init__(self, modalities: int, inputs: int, outputs: int, zero: bool = False) -> None:
        super().__init__()
        weight = torch.zeros(inputs, outputs) if zero else torch.randn(inputs, outputs) * inputs**-0.5
        self.weight = nn.Parameter(weight.repeat(modalities, 1, 1))
        self.bias = nn.Parameter(torch.zeros(modalities, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`x` (batch, modality, patch, inputs) → (batch, modality, patch, outputs)."""
        return torch.einsum("bmpi,mio->bmpo", x, self.weight) + self.bias[:, None, :]
