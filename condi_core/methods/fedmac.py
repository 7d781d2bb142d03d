"""FedMAC: embeddings for missing modalities, cross-modal aggregation, and contrast before and after.

Nguyen et al. 2024, arXiv:2410.03070. As described there: an embedding per modality, shared by all clients,
replaces a missing modality; an aggregator recomputes each modality from all of them; contrastive losses on
the features before and after keep it from a trivial aggregate. Our choices, where the description is open:
the aggregator is the attention over modalities that all task models here have, with no modality ignored, and
a gate between its output and its input; both contrastive losses are InfoNCE of a modality against the mean of
the others, among present modalities before aggregation and among all after it, and their sum has the weight
CONTRASTIVE_WEIGHT; aggregated modalities have the heads per modality that all task models here have.

The task model is exchanged with the embeddings, which are averaged over all sites by windows.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from condi_core.config import TaskConfig
from condi_core.methods.method import Method, NonNegative, Positive
from condi_core.task.batch import TaskBatch
from condi_core.task.contrastive import modality_contrastive_loss
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

CONTRASTIVE_WEIGHT = 0.1  # our choice
TEMPERATURE = 0.5  # our choice


class CrossModalAggregator(TaskModel):
    """The task model with embeddings for missing modalities and a gate on its attention over modalities."""

    def __init__(
        self,
        schema: Schema,
        config: TaskConfig,
        contrastive_weight: float,
        temperature: float,
    ) -> None:
        super().__init__(schema, config)
        self.contrastive_weight, self.temperature = contrastive_weight, temperature
        self.missing_embedding = nn.Parameter(0.1 * torch.randn(len(schema.modalities), config.width))
        self.gate = nn.Linear(2 * config.width, config.width)

    def aggregate(self, features: Tensor, present: Tensor) -> Tensor:
        """Recompute the features (batch, modality, width) of each modality from all of them."""
        features = torch.where(present[..., None], features, self.missing_embedding)
        mixed = self.modality_attention(features, self.cross_modal(self.pair_bias)[None])
        return torch.lerp(features, mixed, self.gate(torch.cat([features, mixed], -1)).sigmoid())

    def classify_aggregated(self, aggregated: Tensor) -> Tensor:
        """Compute the outputs (batch, output) from aggregated features (batch, modality, width)."""
        tokens = torch.cat([self.cls_token.expand(len(aggregated), 1, -1), aggregated], 1)
        pooled = self.pooling_attention(tokens, aggregated.new_zeros(()))[:, 0]
        everywhere = torch.ones_like(aggregated[..., 0])
        return self.classifier(pooled) + self.modality_logits(aggregated, everywhere)

    def classify(self, features: Tensor, present: Tensor) -> Tensor:
        return self.classify_aggregated(self.aggregate(features, present))

    def training_loss(self, batch: TaskBatch) -> Tensor:
        values, observed, available, labels, covariates = batch
        features = self.extract_features(values, observed, available)
        present = available.flatten(2).any(-1)
        aggregated = self.aggregate(features, present)
        before = modality_contrastive_loss(features, present, self.temperature)
        after = modality_contrastive_loss(aggregated, torch.ones_like(present), self.temperature)
        outputs = self.add_covariates(self.classify_aggregated(aggregated), covariates)
        task_loss = self.loss(outputs, labels)
        return task_loss + self.contrastive_weight * (before + after)


def make_fedmac(
    contrastive_weight: NonNegative = CONTRASTIVE_WEIGHT, temperature: Positive = TEMPERATURE
) -> Method:
    """Make the method with other contrastive losses."""
    model = partial(CrossModalAggregator, contrastive_weight=contrastive_weight, temperature=temperature)
    return Method(
        "fedmac",
        "cross-modal aggregation",
        label="FedMAC",
        model=model,
        contrasts_windows=True,
        make=make_fedmac,
    )


METHOD = make_fedmac()
