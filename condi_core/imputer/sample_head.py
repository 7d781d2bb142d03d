"""The last layers of the encoder, which see every sample by itself.

A token stands for many samples, and what holds for one of them, such as which neighbours it has and how much
these agree, does not pass through it. A small multi-layer perceptron reads the token's part for the sample
beside the inputs of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.embeddings import PatchProjection, PerModalityLinear, merge_groups
from condi_core.windows import RateGroup

SAMPLE_WIDTH = 32  # numbers per sample between the layers


class SampleHead(nn.Module):
    """Predict some numbers per sample, which start at zero.

    Parameters
    ----------
    groups : the modalities grouped by their rate
    width : of a token
    channels : input channels per sample
    outputs : predicted numbers per sample
    span : patches per token
    """

    def __init__(
        self, groups: Sequence[RateGroup], width: int, channels: int, outputs: int, span: int
    ) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.from_token = PatchProjection(groups, width, SAMPLE_WIDTH, span, zero=False)
        self.from_sample = nn.ModuleList(
            PerModalityLinear(g.members, channels, SAMPLE_WIDTH) for g in self.groups
        )
        self.norm = nn.LayerNorm(SAMPLE_WIDTH)
        self.mix = nn.Linear(SAMPLE_WIDTH, SAMPLE_WIDTH)
        self.by_rate = nn.ModuleList(
            PerModalityLinear(g.members, SAMPLE_WIDTH, outputs, zero=True) for g in self.groups
        )

    def forward(self, tokens: Tensor, channels: Tensor) -> Tensor:
        """Predict the outputs of all samples.

        Parameters
        ----------
        tokens : Tensor (batch, modality, token, width)
        channels : Tensor (batch, modality, patch, channel, sample)

        Returns
        -------
        Tensor (batch, modality, patch, output, sample)
        """
        context, parts = self.from_token(tokens, channels.shape[2]), []
        for group, from_sample, to_outputs in zip(self.groups, self.from_sample, self.by_rate, strict=True):
            part, inputs = (group.select(x).movedim(-1, 3) for x in (context, channels))
            hidden = part.flatten(2, 3) + from_sample(inputs.flatten(2, 3))
            # Inputs reach tens of deviations, and few steps must not move what belongs to these too far.
            hidden = self.norm(hidden)
            hidden = hidden + self.mix(F.gelu(hidden))
            grid = to_outputs(F.gelu(hidden)).unflatten(2, (-1, group.samples)).movedim(3, -1)
            parts.append(F.pad(grid, (0, channels.shape[-1] - group.samples)))
        return merge_groups(self.groups, parts)
