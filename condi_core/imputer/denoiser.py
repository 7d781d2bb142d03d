"""The network over the grid of patches: an encoder that runs once, a denoiser that runs at every step.

Tokens are `(batch, modality, token, width)`, each of `span` patches in a row. A block attends along time
within each modality, then across modalities at the same time, biased by W_cond and by how much of the
source was observed.
No layer keeps running statistics: there is nothing in it that must not be averaged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from condi_core.attention import Attention
from condi_core.embeddings import CrossModalEmbedding, ModalityEmbedding, PatchEmbedding, PatchProjection
from condi_core.windows import Schema

MAX_DISTANCE = 32  # tokens; farther apart than this, time attention knows only "far"


class AxialAttentionBlock(nn.Module):
    """Attention in time, attention across modalities, and a multi-layer perceptron."""

    def __init__(self, width: int, heads: int, pair_width: int) -> None:
        super().__init__()
        self.in_time = Attention(width, heads)
        self.distance = nn.Parameter(torch.zeros(heads, 2 * MAX_DISTANCE + 1))
        self.across = Attention(width, heads)
        self.relation = nn.Linear(pair_width, heads, bias=False)
        self.share = nn.Parameter(torch.ones(heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, relation: CrossModalEmbedding, seen_share: Tensor) -> Tensor:
        """`seen_share` (batch, modality, token): the observed fraction of every token."""
        time = torch.arange(tokens.shape[2], device=tokens.device)
        apart = (time[None, :] - time[:, None]).clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE
        shape = tokens.shape
        tokens = self.in_time(tokens.flatten(0, 1), self.distance[:, apart]).view(shape)
        share = seen_share.mT.flatten(0, 1)[:, None, None, :]
        bias = relation(self.relation) + self.share[:, None, None] * share
        tokens = self.across(tokens.transpose(1, 2).flatten(0, 1), bias)
        tokens = tokens.view(shape[0], shape[2], shape[1], -1).transpose(1, 2)
        return tokens + self.mlp(tokens)


class Encoder(nn.Module):
    """Reads a window in some channels; returns tokens, and some numbers per sample, zero at the start."""

    def __init__(
        self,
        schema: Schema,
        channels: int,
        numbers: int,
        width: int,
        heads: int,
        blocks: int,
        pair_width: int,
        span: int,
    ) -> None:
        super().__init__()
        self.read = PatchEmbedding(schema.rate_groups, channels, width, span)
        self.identity = ModalityEmbedding(len(schema.modalities), width)
        self.blocks = nn.ModuleList(AxialAttentionBlock(width, heads, pair_width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = PatchProjection(schema.rate_groups, width, numbers, span)

    def forward(
        self, channels: Tensor, relation: CrossModalEmbedding, seen_share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`channels`, and what is returned beside tokens, (batch, modality, patch, channel, sample)."""
        tokens = self.identity(self.read(channels))
        for block in self.blocks:
            tokens = block(tokens, relation, seen_share)
        tokens = self.norm(tokens)
        return tokens, self.head(tokens, channels.shape[2])


class Denoiser(nn.Module):
    """Predicts the velocity of the diffusion of hidden samples from the encoder's tokens.

    Starts at zero, which for independent normal residuals is already the right answer.
    """

    def __init__(self, schema: Schema, width: int, heads: int, pair_width: int, span: int) -> None:
        super().__init__()
        self.read = PatchEmbedding(schema.rate_groups, 2, width, span)
        self.time = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.block = AxialAttentionBlock(width, heads, pair_width)
        self.norm = nn.LayerNorm(width)
        self.head = PatchProjection(schema.rate_groups, width, 1, span)
        frequencies = torch.exp(torch.linspace(0, math.log(1000.0), width // 2))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self,
        noisy: Tensor,
        hidden: Tensor,
        t: Tensor,
        tokens: Tensor,
        relation: CrossModalEmbedding,
        share: Tensor,
    ) -> Tensor:
        """`noisy`, `hidden` (batch, modality, patch, sample), `t` (batch,) in [0, 1]."""
        angle = t[:, None] * self.frequencies
        when = self.time(torch.cat([angle.sin(), angle.cos()], -1))[:, None, None, :]
        x = tokens + self.read(torch.stack([noisy, hidden.to(noisy.dtype)], 3)) + when
        return self.head(self.norm(self.block(x, relation, share)), noisy.shape[2]).squeeze(3)
