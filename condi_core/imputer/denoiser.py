"""The network over the grid of patches: an encoder that runs once, a denoiser that runs at every step.

Tokens are `(batch, modality, token, width)`, each of `span` consecutive patches. A block of axial attention
attends along time within each modality, then across modalities at the same time, biased by W_cond and by
how much of the source was observed. No layer keeps running statistics, so all weights can be averaged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from condi_core.attention import Attention
from condi_core.embeddings import CrossModalEmbedding, ModalityEmbedding, PatchEmbedding, PatchProjection
from condi_core.imputer.sample_head import SampleHead
from condi_core.windows import Schema

MAX_DISTANCE = 32  # tokens; attention in time does not distinguish larger distances


class AxialAttentionBlock(nn.Module):
    """Attention in time, attention across modalities, and a multi-layer perceptron.

    Parameters
    ----------
    width : of a token
    heads : attention heads
    pair_width : of the cross-modal embedding W_cond
    """

    def __init__(self, width: int, heads: int, pair_width: int) -> None:
        super().__init__()
        self.time_attention = Attention(width, heads)
        self.distance_bias = nn.Parameter(torch.zeros(heads, 2 * MAX_DISTANCE + 1))
        self.modality_attention = Attention(width, heads)
        self.pair_bias = nn.Linear(pair_width, heads, bias=False)
        self.observed_gain = nn.Parameter(torch.ones(heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, cross_modal: CrossModalEmbedding, observed_fraction: Tensor) -> Tensor:
        """Transform `tokens` (batch, modality, token, width).

        Parameters
        ----------
        tokens : Tensor (batch, modality, token, width)
        cross_modal : W_cond
        observed_fraction : Tensor (batch, modality, token)
        """
        time = torch.arange(tokens.shape[2], device=tokens.device)
        distance = (time[None, :] - time[:, None]).clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE
        shape = tokens.shape
        tokens = self.time_attention(tokens.flatten(0, 1), self.distance_bias[:, distance]).view(shape)
        fraction = observed_fraction.mT.flatten(0, 1)[:, None, None, :]
        bias = cross_modal(self.pair_bias) + self.observed_gain[:, None, None] * fraction
        tokens = self.modality_attention(tokens.transpose(1, 2).flatten(0, 1), bias)
        tokens = tokens.view(shape[0], shape[2], shape[1], -1).transpose(1, 2)
        return tokens + self.mlp(tokens)


class Encoder(nn.Module):
    """Encode a window as tokens, and predict some numbers per sample that start at zero.

    Parameters
    ----------
    schema : of the windows
    channels : input channels per sample
    outputs : predicted numbers per sample
    width, heads, blocks : of the network
    pair_width : of W_cond
    span : patches per token
    """

    def __init__(
        self,
        schema: Schema,
        channels: int,
        outputs: int,
        width: int,
        heads: int,
        blocks: int,
        pair_width: int,
        span: int,
    ) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(schema.rate_groups, channels, width, span)
        self.modality_embedding = ModalityEmbedding(len(schema.modalities), width)
        self.blocks = nn.ModuleList(AxialAttentionBlock(width, heads, pair_width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = SampleHead(schema.rate_groups, width, channels, outputs, span)

    def forward(
        self, channels: Tensor, cross_modal: CrossModalEmbedding, observed_fraction: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encode windows.

        Parameters
        ----------
        channels : Tensor (batch, modality, patch, channel, sample)
        cross_modal : W_cond
        observed_fraction : Tensor (batch, modality, token)

        Returns
        -------
        tokens : Tensor (batch, modality, token, width)
        outputs : Tensor (batch, modality, patch, output, sample)
        """
        tokens = self.modality_embedding(self.patch_embedding(channels))
        for block in self.blocks:
            tokens = block(tokens, cross_modal, observed_fraction)
        tokens = self.norm(tokens)
        # What the head tells apart, such as whether a relation is exact, needs full precision.
        with torch.autocast(channels.device.type, enabled=False):
            return tokens, self.head(tokens.float(), channels)


class Denoiser(nn.Module):
    """Predict the velocity of the diffusion of missing samples, given the encoder's tokens.

    The prediction starts at zero, which is the exact answer for independent normal scores.

    Parameters
    ----------
    schema : of the windows
    width, heads : of the network
    pair_width : of W_cond
    span : patches per token
    """

    frequencies: Tensor

    def __init__(self, schema: Schema, width: int, heads: int, pair_width: int, span: int) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(schema.rate_groups, 2, width, span)
        self.time_embedding = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.block = AxialAttentionBlock(width, heads, pair_width)
        self.norm = nn.LayerNorm(width)
        self.head = PatchProjection(schema.rate_groups, width, 1, span)
        frequencies = torch.exp(torch.linspace(0, math.log(1000.0), width // 2))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self,
        noisy: Tensor,
        missing: Tensor,
        t: Tensor,
        tokens: Tensor,
        cross_modal: CrossModalEmbedding,
        observed_fraction: Tensor,
    ) -> Tensor:
        """Predict velocities.

        Parameters
        ----------
        noisy : Tensor (batch, modality, patch, sample), 0 where not `missing`
        missing : Tensor of the same shape, bool: what is not conditioned on
        t : Tensor (batch,), diffusion time in [0, 1]
        tokens : Tensor (batch, modality, token, width) of the encoder
        cross_modal : W_cond
        observed_fraction : Tensor (batch, modality, token)

        Returns
        -------
        Tensor (batch, modality, patch, sample)
        """
        angle = t[:, None] * self.frequencies
        time = self.time_embedding(torch.cat([angle.sin(), angle.cos()], -1))[:, None, None, :]
        x = tokens + self.patch_embedding(torch.stack([noisy, missing.to(noisy.dtype)], 3)) + time
        x = self.norm(self.block(x, cross_modal, observed_fraction))
        return self.head(x, noisy.shape[2]).squeeze(3)
