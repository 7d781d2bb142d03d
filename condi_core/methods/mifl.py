"""MIFL: learned embeddings stand in for missing modalities, the features of present ones are aligned.

A baseline for missing modalities in the line of work behind PEPSY (arXiv:2510.22880), known here as
embeddings for missing modalities with contrastive alignment; no description of its own was at hand. Chosen:
one embedding per modality, the same at all sites, takes the place of the features of a modality that a
window lacks; all features side by side go to a linear classifier; and an InfoNCE loss, WEIGHT times, draws
the features of modalities of one window together. Holes within a modality are zeros and the mask.

Travels: the task model with the embeddings. Those are averaged over all sites by windows: they are trained
where the modality is not.
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


class MIFLModel(TaskModel):
    """Late fusion of features, with an embedding for each missing modality."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__(schema, config)
        del self.modality_attention, self.cls_token, self.pooling_attention, self.cross_modal, self.pair_bias
        del self.modality_heads
        m, width = len(schema.modalities), config.width
        self.missing_embedding = nn.Parameter(0.1 * torch.randn(m, width))
        self.classifier = nn.Sequential(nn.LayerNorm(m * width), nn.Linear(m * width, len(schema.labels)))

    def classify(self, features: Tensor, known: Tensor) -> Tensor:
        features = torch.where(known[..., None], features, self.missing_embedding)
        return self.classifier(features.flatten(1))

    def training_loss(self, values: Tensor, observed: Tensor, known: Tensor, labels: Tensor) -> Tensor:
        features, present = self.extract_features(values, observed, known), known.flatten(2).any(-1)
        aligned = modality_contrastive_loss(features, present, TEMPERATURE)
        return self.loss(self.classify(features, present), labels) + WEIGHT * aligned


METHOD = Method("mifl", "missing-modality embeddings", model=MIFLModel)
