"""FedMAC: imputation embeddings for missing modalities, cross-modal aggregation, contrast before and after.

Nguyen et al. 2024, arXiv:2410.03070. As described there: an embedding per modality, shared by all clients,
takes the place of a missing one; an aggregator makes each modality anew from all of them; contrastive
losses on the features before and after keep it from a trivial aggregate. Chosen, where the description is
open: the aggregator is the attention over modalities that all task models here have, with no modality
passed by, and a gate between what it gives and what went in; both contrastive losses are InfoNCE of a
modality against the mean of the others, among present modalities before it and among all after it, WEIGHT
times their sum; remade modalities have the votes that modalities have in all task models here.

Travels: the task model with the embeddings, which are averaged over all sites by windows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condi_core.config import TaskConfig
from condi_core.methods.method import Method
from condi_core.task.contrastive import modality_contrastive_loss
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

WEIGHT, TEMPERATURE = 0.1, 0.5  # chosen


class CrossModalAggregator(TaskModel):
    """The task model with embeddings for missing modalities and a gate on its attention over modalities."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__(schema, config)
        self.missing_embedding = nn.Parameter(0.1 * torch.randn(len(schema.modalities), config.width))
        self.gate = nn.Linear(2 * config.width, config.width)

    def aggregate(self, features: Tensor, known: Tensor) -> Tensor:
        """Features (batch, modality, width) made from all modalities."""
        features = torch.where(known[..., None], features, self.missing_embedding)
        mixed = self.modality_attention(features, self.cross_modal(self.pair_bias)[None])
        return torch.lerp(features, mixed, self.gate(torch.cat([features, mixed], -1)).sigmoid())

    def conclude(self, aggregated: Tensor) -> Tensor:
        """Logits from aggregated features."""
        tokens = torch.cat([self.cls_token.expand(len(aggregated), 1, -1), aggregated], 1)
        whole = self.pooling_attention(tokens, aggregated.new_zeros(()))[:, 0]
        return self.classifier(whole) + self.modality_logits(aggregated, torch.ones_like(aggregated[..., 0]))

    def classify(self, features: Tensor, known: Tensor) -> Tensor:
        return self.conclude(self.aggregate(features, known))

    def training_loss(self, values: Tensor, observed: Tensor, known: Tensor, labels: Tensor) -> Tensor:
        features, present = self.extract_features(values, observed, known), known.flatten(2).any(-1)
        aggregated = self.aggregate(features, present)
        before = modality_contrastive_loss(features, present, TEMPERATURE)
        after = modality_contrastive_loss(aggregated, torch.ones_like(present), TEMPERATURE)
        return self.loss(self.conclude(aggregated), labels) + WEIGHT * (before + after)


METHOD = Method("fedmac", "cross-modal aggregation", model=CrossModalAggregator)
