"""The weights that belong to modalities: embeddings, pairwise embeddings, and patch layers.

Every table has the modality (or target and source) as its leading axis, so that a site's rows are averaged
with the rows of the sites that have the same modality, and with no others (see `condi_core.ownership`).
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
        """Add the embedding to `tokens` (batch, modality, token, width)."""
        return tokens + self.weight[:, None, :]


class CrossModalEmbedding(nn.Module):
    """W_cond `(target, source, width)`: how informative a source modality is about a target modality."""

    owners = {"weight": "pair"}

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(modalities, modalities, width))

    def forward(self, to_heads: nn.Linear) -> Tensor:
        """Return the attention bias `(head, target, source)` of a block that projects by `to_heads`."""
        return to_heads(self.weight).permute(2, 0, 1)


class PerModalityLinear(nn.Module):
    """A linear layer with separate weights for each modality; all start from the same weights.

    Parameters
    ----------
    members : positions of these modalities among all modalities
    inputs, outputs : width of the last axis before and after
    zero : whether the weights start at zero rather than at random
    """

    owners = {"weight": "modality", "bias": "modality"}

    def __init__(self, members: Sequence[int], inputs: int, outputs: int, zero: bool = False) -> None:
        super().__init__()
        self.members = tuple(members)
        weight = torch.zeros(inputs, outputs) if zero else torch.randn(inputs, outputs) * inputs**-0.5
        self.weight = nn.Parameter(weight.repeat(len(members), 1, 1))
        self.bias = nn.Parameter(torch.zeros(len(members), outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (batch, member, token, inputs) to (batch, member, token, outputs)."""
        return torch.einsum("bmpi,mio->bmpo", x, self.weight) + self.bias[:, None, :]


class PatchEmbedding(nn.Module):
    """Embed the samples of consecutive patches, in several channels, as tokens; weights per modality.

    Parameters
    ----------
    groups : the modalities grouped by their rate
    channels : channels of each sample
    width : of a token
    span : consecutive patches that make one token
    """

    def __init__(self, groups: Sequence[RateGroup], channels: int, width: int, span: int = 1) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.span = span
        self.by_rate = nn.ModuleList(
            PerModalityLinear(g.members, channels * span * g.samples, width) for g in self.groups
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (batch, modality, patch, channel, sample) to tokens (batch, modality, token, width).

        If the number of patches is not a multiple of the span, the last token reads zeros beyond the window.
        """
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[2] % self.span))
        parts = [
            linear(group.select(x).unflatten(2, (-1, self.span)).flatten(3))
            for group, linear in zip(self.groups, self.by_rate, strict=True)
        ]
        return merge_groups(self.groups, parts)


class PatchProjection(nn.Module):
    """Project tokens to numbers for each sample of their patches, in several channels.

    Parameters
    ----------
    groups : the modalities grouped by their rate
    width : of a token
    channels : numbers per sample
    span : consecutive patches that make one token
    zero : whether the weights start at zero rather than at random
    """

    def __init__(
        self, groups: Sequence[RateGroup], width: int, channels: int, span: int = 1, zero: bool = True
    ) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.channels = channels
        self.span = span
        self.by_rate = nn.ModuleList(
            PerModalityLinear(g.members, width, span * channels * g.samples, zero) for g in self.groups
        )

    def forward(self, tokens: Tensor, patches: int) -> Tensor:
        """Map `tokens` (batch, modality, token, width) to (batch, modality, patch, channel, sample)."""
        samples, parts = max(g.samples for g in self.groups), []
        for group, linear in zip(self.groups, self.by_rate, strict=True):
            selected = tokens if len(self.groups) == 1 else tokens[:, list(group.members)]
            grid = linear(selected).unflatten(3, (self.span, self.channels, group.samples)).flatten(2, 3)
            parts.append(F.pad(grid[:, :, :patches], (0, samples - group.samples)))
        return merge_groups(self.groups, parts)


def merge_groups(groups: Sequence[RateGroup], parts: list[Tensor]) -> Tensor:
    """Join the groups' tensors, members on axis 1, into one tensor in the order of the schema."""
    if len(parts) == 1:
        return parts[0]
    positions = [position for group in groups for position in group.members]
    return torch.cat(parts, 1)[:, sorted(range(len(positions)), key=positions.__getitem__)]
