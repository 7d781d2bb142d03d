"""What the models learn about modalities: identity, relation of each source to each target, own weights.

Every table has the modality (or target and source) as its leading axis, so that a site's rows can be
averaged with the rows of the sites that have the same modality, and with no others (see `ownership`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.windows import RateGroup


class ModalityEmbedding(nn.Module):
    """W_mod: the identity of a modality, added to all its tokens."""

    owners = {"weight": "modality"}

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(modalities, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens` (batch, modality, token, width)."""
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
    """A linear layer with weights of its own for each of some modalities; all start from the same weights.

    `members` are the places of these modalities among all.
    """

    owners = {"weight": "modality", "bias": "modality"}

    def __init__(self, members: Sequence[int], inputs: int, outputs: int, zero: bool = False) -> None:
        super().__init__()
        self.members = tuple(members)
        weight = torch.zeros(inputs, outputs) if zero else torch.randn(inputs, outputs) * inputs**-0.5
        self.weight = nn.Parameter(weight.repeat(len(members), 1, 1))
        self.bias = nn.Parameter(torch.zeros(len(members), outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`x` (batch, member, token, inputs) → (batch, member, token, outputs)."""
        return torch.einsum("bmpi,mio->bmpo", x, self.weight) + self.bias[:, None, :]


class PatchEmbedding(nn.Module):
    """From the samples of `span` patches in a row, in several channels, to a token; weights per modality."""

    def __init__(self, groups: Sequence[RateGroup], channels: int, width: int, span: int = 1) -> None:
        super().__init__()
        self.groups, self.span = tuple(groups), span
        self.by_rate = nn.ModuleList(
            PerModalityLinear(g.members, channels * span * g.samples, width) for g in self.groups
        )

    def forward(self, x: Tensor) -> Tensor:
        """`x` (batch, modality, patch, channel, sample) → tokens (batch, modality, token, width).

        The last token may reach beyond the window, where there are zeros.
        """
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[2] % self.span))
        parts = [
            read(g.of(x).unflatten(2, (-1, self.span)).flatten(3))
            for g, read in zip(self.groups, self.by_rate, strict=True)
        ]
        return _in_order(self.groups, parts)


class PatchProjection(nn.Module):
    """From a token to numbers for each sample of its `span` patches, in several channels; starts at zero."""

    def __init__(self, groups: Sequence[RateGroup], width: int, channels: int, span: int = 1) -> None:
        super().__init__()
        self.groups, self.channels, self.span = tuple(groups), channels, span
        self.by_rate = nn.ModuleList(
            PerModalityLinear(g.members, width, span * channels * g.samples, zero=True) for g in self.groups
        )

    def forward(self, tokens: Tensor, patches: int) -> Tensor:
        """From `tokens` (batch, modality, token, width) to (batch, modality, patch, channel, sample)."""
        samples, parts = max(g.samples for g in self.groups), []
        for group, write in zip(self.groups, self.by_rate, strict=True):
            own = tokens if len(self.groups) == 1 else tokens[:, list(group.members)]
            written = write(own).unflatten(3, (self.span, self.channels, group.samples)).flatten(2, 3)
            parts.append(F.pad(written[:, :, :patches], (0, samples - group.samples)))
        return _in_order(self.groups, parts)


def _in_order(groups: Sequence[RateGroup], parts: list[Tensor]) -> Tensor:
    """Parts of the groups, each with the members on axis 1, as one tensor over all modalities."""
    if len(parts) == 1:
        return parts[0]
    places = [place for group in groups for place in group.members]
    return torch.cat(parts, 1)[:, sorted(range(len(places)), key=places.__getitem__)]
