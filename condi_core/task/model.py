"""The task model (phase 2): features per modality, attention over modalities, and a classifier.

In the symbols of the method: `features` are W_ins, `modality_embedding` is W_mod, `cross_modal` is W_cond.
The model reads completed windows together with the mask of what was observed, since missingness
is informative about the patient too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.attention import Attention
from condi_core.config import TaskConfig
from condi_core.embeddings import CrossModalEmbedding, ModalityEmbedding, PatchEmbedding, PerModalityLinear
from condi_core.task.batch import TaskBatch
from condi_core.task.numbers import CovariateHead, NumberStandardiser
from condi_core.windows import Schema, Standardiser


class Extractor(nn.Module):
    """Extract features of each modality: a patch embedding per modality, then shared convolutions.

    Parameters
    ----------
    schema : of the windows
    width : of the features
    blocks : residual convolutions along time
    """

    def __init__(self, schema: Schema, width: int, blocks: int) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(schema.rate_groups, 2 * 3, width)
        self.modality_embedding = ModalityEmbedding(len(schema.modalities), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.GELU(), nn.Conv1d(width, width, 5, padding=2))
            for _ in range(blocks)
        )
        self.pool = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """Map standardised `x` (batch, modality, patch, sample) to features (batch, modality, width)."""
        channels = F.pad(torch.stack([x, observed.to(x.dtype)], 3), (0, 0, 0, 0, 1, 1))
        # A patch is read with both neighbours, so that it does not matter where the grid cuts a beat.
        neighbours = channels.unfold(2, 3, 1).movedim(-1, -2).flatten(3, 4)
        h = self.modality_embedding(self.patch_embedding(neighbours)).flatten(0, 1).mT
        for block in self.blocks:
            h = h + block(h)
        return self.pool(torch.cat([h.mean(-1), h.amax(-1)], -1)).unflatten(0, x.shape[:2])


class TaskModel(nn.Module):
    """Model of completed windows; its loss and predictions are those of the kind of task.

    Three masks of shape (batch, modality, patch, sample) or (batch, modality) occur: `observed` is what was
    measured; `available` marks the values that carry information because they were observed or completed;
    `present` marks the modalities with any available value. A modality that is not present is ignored.

    Parameters
    ----------
    schema : of the windows
    config : settings of phase 2

    Attributes
    ----------
    generator : source of random numbers of the training loss, for methods that draw some; None: torch's
    """

    generator: torch.Generator | None = None

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__()
        m = len(schema.modalities)
        self.kind = schema.task_kind
        self.standardiser = Standardiser(m)
        self.extractor = Extractor(schema, config.width, config.blocks)
        self.cross_modal = CrossModalEmbedding(m, config.pair_width)
        self.pair_bias = nn.Linear(config.pair_width, config.heads, bias=False)
        self.modality_attention = Attention(config.width, config.heads)
        self.cls_token = nn.Parameter(torch.zeros(config.width))
        self.pooling_attention = Attention(config.width, config.heads)
        self.outputs = self.kind.num_outputs(len(schema.labels))
        self.classifier = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, self.outputs))
        self.modality_heads = PerModalityLinear(range(m), config.width, self.outputs, zero=True)
        self._range = schema.label_range
        self.label_standardiser = (
            NumberStandardiser(len(schema.labels)) if self.kind.standardises_labels else None
        )
        self.covariate_head = CovariateHead(schema, config.width, self.outputs) if config.covariates else None

    def forward(
        self, values: Tensor, observed: Tensor, available: Tensor, covariates: Tensor | None = None
    ) -> Tensor:
        """Compute the outputs of windows, such as logits.

        Parameters
        ----------
        values : Tensor (batch, modality, patch, sample), in source units, completed by the method
        observed : bool Tensor of the same shape, what was measured
        available : bool Tensor of the same shape, what was measured or completed
        covariates : Tensor (batch, covariate), NaN where not recorded; None: nothing is recorded

        Returns
        -------
        Tensor (batch, output); finite even for a window of which nothing is available
        """
        return self.add_covariates(self.classify_windows(values, observed, available), covariates)

    def classify_windows(self, values: Tensor, observed: Tensor, available: Tensor) -> Tensor:
        """Compute the outputs (batch, output) without covariates."""
        present = available.flatten(2).any(-1)
        return self.classify(self.extract_features(values, observed, available), present)

    def add_covariates(self, outputs: Tensor, covariates: Tensor | None) -> Tensor:
        """Add what is known from covariates to outputs, if `task.covariates` lets them enter the model."""
        if self.covariate_head is None:
            return outputs
        if covariates is None:
            covariates = outputs.new_full((len(outputs), len(self.covariate_head.num_categories)), torch.nan)
        return outputs + self.covariate_head(covariates)

    def extract_features(self, values: Tensor, observed: Tensor, available: Tensor) -> Tensor:
        """Extract features of each modality (batch, modality, width)."""
        return self.extractor(self.standardiser(values, available).clamp(-30, 30), observed)

    def classify(self, features: Tensor, present: Tensor) -> Tensor:
        """Compute outputs (batch, output) from features (batch, modality, width) of the present modalities.

        Parameters
        ----------
        features : Tensor (batch, modality, width)
        present : bool Tensor (batch, modality)
        """
        missing_bias = features.new_zeros(present.shape).masked_fill(~present, -1e4)[:, None, None, :]
        features = self.modality_attention(features, self.cross_modal(self.pair_bias) + missing_bias)
        tokens = torch.cat([self.cls_token.expand(len(features), 1, -1), features], 1)
        pooled = self.pooling_attention(tokens, F.pad(missing_bias, (1, 0)))[:, 0]
        return self.classifier(pooled) + self.modality_logits(features, present)

    def modality_logits(self, features: Tensor, present: Tensor) -> Tensor:
        """Sum the outputs that each present modality contributes separately.

        Attention has to learn to distinguish the modalities, whereas these heads are separate from the start.
        Most of what a model can learn in the few steps of a federation comes from them.

        Parameters
        ----------
        features : Tensor (batch, modality, width)
        present : bool Tensor (batch, modality)

        Returns
        -------
        Tensor (batch, output)
        """
        logits = self.modality_heads(F.layer_norm(features, features.shape[-1:])[:, :, None])[:, :, 0]
        return (logits * present[..., None]).sum(1)

    def training_loss(self, batch: TaskBatch) -> Tensor:
        """Compute what training minimises; methods add their own terms."""
        values, observed, available, labels, covariates = batch
        return self.loss(self(values, observed, available, covariates), labels)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of outputs (batch, output), given labels (batch, label)."""
        if self.label_standardiser is not None:
            labels = self.label_standardiser(labels)
        return self.kind.loss(outputs, labels)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs (batch, output) into what is reported (batch, column); see `TaskKind`.

        Numbers are within the range of the label.
        """
        predictions = self.kind.predictions(outputs)
        if self.label_standardiser is None:
            return predictions
        labels = len(self.label_standardiser.mean)
        numbers = self.label_standardiser.inverse(predictions.unflatten(1, (labels, -1)).mT).mT.flatten(1)
        return numbers if self._range == (None, None) else numbers.clamp(*self._range)
