"""MIFL: learned embeddings replace missing modalities, and the features of present ones are aligned.

A baseline for missing modalities in the line of work behind PEPSY (arXiv:2510.22880), described there as
embeddings for missing modalities with contrastive alignment; no description of the method itself was
available. Our choices: one embedding per modality, the same at all sites, replaces the features of a modality
that is missing from a window; the concatenated features go to a linear classifier; and an InfoNCE loss, with
the weight CONTRASTIVE_WEIGHT, aligns the features of the modalities of one window. Missing samples within a
modality are zeros with the mask.

The task model is exchanged with the embeddings. These are averaged over all sites by windows, since they are
trained where the modality is missing.
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


class MIFLModel(TaskModel):
    """Late fusion of features, with an embedding for each missing modality."""

    def __init__(
        self,
        schema: Schema,
        config: TaskConfig,
        contrastive_weight: float,
        temperature: float,
    ) -> None:
        super().__init__(schema, config)
        self.contrastive_weight, self.temperature = contrastive_weight, temperature
        del self.modality_attention, self.cls_token, self.pooling_attention, self.cross_modal, self.pair_bias
        del self.modality_heads
        m, width = len(schema.modalities), config.width
        self.missing_embedding = nn.Parameter(0.1 * torch.randn(m, width))
        self.classifier = nn.Sequential(nn.LayerNorm(m * width), nn.Linear(m * width, self.outputs))

    def classify(self, features: Tensor, present: Tensor) -> Tensor:
        features = torch.where(present[..., None], features, self.missing_embedding)
        return self.classifier(features.flatten(1))

    def training_loss(self, batch: TaskBatch) -> Tensor:
        values, observed, available, labels, covariates = batch
        features = self.extract_features(values, observed, available)
        present = available.flatten(2).any(-1)
        contrastive_loss = modality_contrastive_loss(features, present, self.temperature)
        outputs = self.add_covariates(self.classify(features, present), covariates)
        task_loss = self.loss(outputs, labels)
        return task_loss + self.contrastive_weight * contrastive_loss


def make_mifl(
    contrastive_weight: NonNegative = CONTRASTIVE_WEIGHT, temperature: Positive = TEMPERATURE
) -> Method:
    """Make the method with other contrastive losses."""
    model = partial(MIFLModel, contrastive_weight=contrastive_weight, temperature=temperature)
    return Method(
        "mifl",
        "missing-modality embeddings",
        label="MIFL",
        model=model,
        contrasts_windows=True,
        make=make_mifl,
    )


METHOD = make_mifl()
