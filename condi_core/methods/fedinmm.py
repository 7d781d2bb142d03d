"""FedInMM: an LSTM reads every incomplete modality in time, and what it remembers is fused.

The baseline for missing features in the evaluation of PEPSY (arXiv:2510.22880), known here as LSTM-style
fusion over incomplete modalities; no description of its own was at hand. Chosen: each patch is read by
weights of its modality as values (zeros in holes) and mask, with the identity of the modality; one LSTM,
shared by the modalities, goes over the patches; its last states are averaged over the modalities of which
the window has anything, and classified, with the votes that modalities have in all task models here.

Travels: the task model; reading weights are averaged per modality, the LSTM by windows.
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
        """Standardised `x` (batch, modality, patch, sample) → features (batch, modality, width)."""
        tokens = self.modality_embedding(self.patch_embedding(torch.stack([x, observed.to(x.dtype)], 3)))
        return self.lstm(tokens.flatten(0, 1))[1][0][0].unflatten(0, x.shape[:2])


class LSTMFusion(TaskModel):
    """Mean of the modalities' last states, classified."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__(schema, config)
        del self.modality_attention, self.cls_token, self.pooling_attention, self.cross_modal, self.pair_bias
        self.extractor = LSTMExtractor(schema, config.width)

    def classify(self, features: Tensor, known: Tensor) -> Tensor:
        return self.classifier(masked_mean(features, known)) + self.modality_logits(features, known)


METHOD = Method("fedinmm", "LSTM over samples and mask", model=LSTMFusion)
