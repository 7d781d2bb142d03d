"""FedInMM: an LSTM reads every incomplete modality in time, and its last states are fused.

The baseline for missing features in the evaluation of PEPSY (arXiv:2510.22880), described there as LSTM-style
fusion over incomplete modalities; no description of the method itself was available. Our choices: each patch
is embedded by weights of its modality from values (zeros where missing) and mask, plus the embedding of the
modality; one LSTM, shared by the modalities, runs over the patches; its last states are averaged over the
present modalities and classified, with the heads per modality that all task models here have.

The task model is exchanged; patch embeddings are averaged per modality, the LSTM by windows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condi_core.config import TaskConfig
from condi_core.embeddings import ModalityEmbedding, PatchEmbedding
from condi_core.methods.method import Method
from condi_core.task.contrastive import masked_mean
from condi_core.task.model import TaskModel
from condi_core.windows import Schema


class LSTMExtractor(nn.Module):
    """Last states of an LSTM over the patches of each modality."""

    def __init__(self, schema: Schema, width: int) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(schema.rate_groups, 2, width)
        self.modality_embedding = ModalityEmbedding(len(schema.modalities), width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """Map standardised `x` (batch, modality, patch, sample) to features (batch, modality, width)."""
        channels = torch.stack([x, observed.to(x.dtype)], 3)
        tokens = self.modality_embedding(self.patch_embedding(channels))
        _, (hidden, _) = self.lstm(tokens.flatten(0, 1))
        return hidden[-1].unflatten(0, x.shape[:2])


class LSTMFusion(TaskModel):
    """Classify the mean of the modalities' last states."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__(schema, config)
        del self.modality_attention, self.cls_token, self.pooling_attention, self.cross_modal, self.pair_bias
        self.extractor = LSTMExtractor(schema, config.width)  # type: ignore[assignment]

    def classify(self, features: Tensor, present: Tensor) -> Tensor:
        return self.classifier(masked_mean(features, present)) + self.modality_logits(features, present)


METHOD = Method("fedinmm", "LSTM over samples and mask", label="FedInMM", model=LSTMFusion)
