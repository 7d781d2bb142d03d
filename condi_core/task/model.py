"""The task model (phase 2): extractors per modality, joint embedding over modalities, classifier and votes.

Legend: `features` W_ins, `identity` W_mod, `cross_modal` W_cond. Reads completed windows together with
the mask of what was observed, since what is missing says something about the patient too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.attention import Attention
from condi_core.config import TaskConfig
from condi_core.embeddings import CrossModalEmbedding, ModalityEmbedding, PatchEmbedding, PerModalityLinear
from condi_core.windows import Schema, Standardiser


class Extractor(nn.Module):
    """Instance features of each modality from its patches: own reading weights, then shared convolutions."""

    def __init__(self, schema: Schema, width: int, blocks: int) -> None:
        super().__init__()
        self.read = PatchEmbedding(schema.rate_groups, 2 * 3, width)
        self.identity = ModalityEmbedding(len(schema.modalities), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.GELU(), nn.Conv1d(width, width, 5, padding=2))
            for _ in range(blocks)
        )
        self.pool = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """Standardised `x` (batch, modality, patch, sample) → features (batch, modality, width)."""
        channels = F.pad(torch.stack([x, observed.to(x.dtype)], 3), (0, 0, 0, 0, 1, 1))
        # A patch is read with its neighbours: a beat does not care where the grid cuts it.
        around = channels.unfold(2, 3, 1).movedim(-1, -2).flatten(3, 4)
        h = self.identity(self.read(around)).flatten(0, 1).mT
        for block in self.blocks:
            h = h + block(h)
        return self.pool(torch.cat([h.mean(-1), h.amax(-1)], -1)).unflatten(0, x.shape[:2])


class TaskModel(nn.Module):
    """Model of completed windows; its loss and predictions are those of the kind of task."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__()
        m = len(schema.modalities)
        self.kind = schema.task_kind
        self.standardiser = Standardiser(m)
        self.extractor = Extractor(schema, config.width, config.blocks)
        self.cross_modal = CrossModalEmbedding(m, config.pair_width)
        self.relation = nn.Linear(config.pair_width, config.heads, bias=False)
        self.joint = Attention(config.width, config.heads)
        self.summary = nn.Parameter(torch.zeros(config.width))
        self.read_out = Attention(config.width, config.heads)
        self.classifier = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, len(schema.labels))
        )
        self.votes = PerModalityLinear(range(m), config.width, len(schema.labels), zero=True)

    def forward(self, values: Tensor, observed: Tensor, known: Tensor) -> Tensor:
        """Logits (batch, label) of windows in source units.

        `known` says which `values` mean something, because they were observed or completed; a modality
        without any is passed by. A window of which nothing at all is known still gets finite logits.
        """
        return self.decide(self.features(values, observed, known), known.flatten(2).any(-1))

    def features(self, values: Tensor, observed: Tensor, known: Tensor) -> Tensor:
        """Instance features of each modality (batch, modality, width)."""
        return self.extractor(self.standardiser(values, known).clamp(-30, 30), observed)

    def decide(self, features: Tensor, known: Tensor) -> Tensor:
        """Logits from features (batch, modality, width) of the `known` modalities (batch, modality)."""
        absent = features.new_zeros(known.shape).masked_fill(~known, -1e4)[:, None, None, :]
        features = self.joint(features, self.cross_modal(self.relation) + absent)
        tokens = torch.cat([self.summary.expand(len(features), 1, -1), features], 1)
        whole = self.read_out(tokens, F.pad(absent, (1, 0)))[:, 0]
        return self.classifier(whole) + self.vote(features, known)

    def vote(self, features: Tensor, known: Tensor) -> Tensor:
        """Logits (batch, label): what each of the `known` (batch, modality) says by itself, added up.

        Attention has to learn which lead is which; these know it from the start, which is most of what a
        model can learn in the few steps of a federation.
        """
        said = self.votes(F.layer_norm(features, features.shape[-1:])[:, :, None])[:, :, 0]
        return (said * known[..., None]).sum(1)

    def objective(self, values: Tensor, observed: Tensor, known: Tensor, labels: Tensor) -> Tensor:
        """What training makes small."""
        return self.loss(self(values, observed, known), labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch; both are (batch, label)."""
        return self.kind.loss(logits, labels)

    def predictions(self, logits: Tensor) -> Tensor:
        """Turn logits (batch, label) into what is reported: probabilities of the labels."""
        return self.kind.predictions(logits)
