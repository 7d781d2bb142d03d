"""PEPSY: learned controls, looked up by what a window lacks, turn shared features into complete ones.

Nguyen et al. 2025 (NeurIPS), arXiv:2510.22880. As described there: a modality is its identity, its features
(the mean of the present ones where it is missing) and the mean of those SELECTED of a profile's controls
that its query is most similar to, all three side by side; the loss is that of the task, WEIGHT times two
contrastive ones (between the features of a window's modalities, and between a modality so reconfigured and
the whole window), less PULL times the similarity of query and selected controls; modalities are then fused
by attention over their own similarities, with a gate. Sites keep profiles of their own, and the coordinator
joins controls that are alike.

Chosen, where the description is open: the query reads the features and the observed share of the modality,
and the mean of controls is weighted by similarity, through which query and key learn; the fused modalities
are averaged and classified, with the votes that modalities have in all task models here; the classifier
starts with a linear map of the three parts. The profile keeps its size, so the paper's non-parametric
clustering (PFPT) becomes: each control of a site is averaged with the most similar one of every other site
whose cosine is at least ALIKE, by windows. A profile of a site alone thus stays its own, and equal profiles
stay equal.

Travels: the task model by FedAvg per modality, and the profile (`controls`), of which the coordinator keeps
a version per site; it writes one file per site.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.averaging import Arrays, SiteUpdate, average
from condi_core.config import TaskConfig
from condi_core.methods.method import Method
from condi_core.ownership import Owner
from condi_core.task.contrastive import info_nce, masked_mean, modality_contrastive_loss
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

CONTROLS, SELECTED = 16, 4  # of a profile, and for one modality of a window; chosen
WEIGHT, QUERY_WEIGHT, TEMPERATURE = 0.1, 0.1, 0.5  # lambda and eta of the loss; chosen
MERGE_COSINE = 0.5  # least cosine of controls that are joined; chosen


class PEPSYModel(TaskModel):
    """The task model of PEPSY; `controls` (control, width) is the site's profile."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__(schema, config)
        del self.modality_attention, self.cls_token, self.pooling_attention, self.cross_modal, self.pair_bias
        width = config.width
        self.controls = nn.Parameter(torch.randn(CONTROLS, width))
        self.query = nn.Linear(width + 1, width)
        self.key = nn.Linear(width, width)
        self.compose = nn.Linear(3 * width, width)
        self.gate = nn.Linear(2 * width, width)
        samples = torch.tensor([float(schema.patches * m.samples_per_patch) for m in schema.modalities])
        self.register_buffer("samples", samples, persistent=False)

    def forward(self, values: Tensor, observed: Tensor, known: Tensor) -> Tensor:
        features, share = self.extract_features(values, observed, known), self.share(observed)
        return self.conclude(self.reconfigure(features, share)[0])

    def reconfigure(self, features: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Complete features and those that went in (batch, modality, width); similarity of the controls.

        `share` (batch, modality) of samples observed: 0 where the modality is missing.
        """
        present = share > 0
        features = torch.where(present[..., None], features, masked_mean(features, present)[:, None])
        query = F.normalize(self.query(torch.cat([features, share[..., None]], -1)), dim=-1)
        similar, chosen = (query @ F.normalize(self.key(self.controls), dim=-1).mT).topk(SELECTED, -1)
        pattern = (similar.softmax(-1)[..., None] * self.controls[chosen]).sum(-2)
        identity = self.extractor.modality_embedding.weight.expand_as(features)
        return self.compose(torch.cat([identity, features, pattern], -1)), features, similar.mean()

    def conclude(self, complete: Tensor) -> Tensor:
        """Logits: modalities fused by their similarities (batch, modality, modality), gated, averaged."""
        near = (complete @ complete.mT * complete.shape[-1] ** -0.5).softmax(-1)
        mixed = near @ complete
        gate = self.gate(torch.cat([complete, mixed], -1)).sigmoid()
        fused = torch.lerp(complete, mixed, gate)
        return self.classifier(fused.mean(1)) + self.modality_logits(fused, torch.ones_like(fused[..., 0]))

    def training_loss(self, values: Tensor, observed: Tensor, known: Tensor, labels: Tensor) -> Tensor:
        share = self.share(observed)
        features, present = self.extract_features(values, observed, known), share > 0
        complete, filled, relevance = self.reconfigure(features, share)
        aligned = modality_contrastive_loss(features, present, TEMPERATURE)
        whole = masked_mean(complete, present)
        found = sum(info_nce(one, whole, TEMPERATURE) for one in complete.unbind(1)) / complete.shape[1]
        return (
            self.loss(self.conclude(complete), labels) + WEIGHT * (aligned + found) - QUERY_WEIGHT * relevance
        )

    def share(self, observed: Tensor) -> Tensor:
        """Of the samples that each modality has (batch, modality)."""
        return observed.flatten(2).float().sum(-1) / self.samples


def merge_profiles(base: Arrays, owners: dict[str, Owner], trained: Sequence[SiteUpdate]) -> Arrays:
    """FedAvg, but of the profiles: each site's controls with those of other sites that are like them."""
    result = average(base, owners, trained)
    result["controls"] = base["controls"]  # a profile that no site has
    profiles = {t.site: t.arrays["controls"].astype(np.float64) for t in trained}
    for site, mine in profiles.items():
        total, weight = 0.0, 0.0
        for other in trained:
            theirs = profiles[other.site]
            similar = _unit(mine) @ _unit(theirs).T
            best = np.arange(len(mine)) if other.site == site else similar.argmax(1)
            near = other.windows * (similar[np.arange(len(mine)), best] >= MERGE_COSINE)[:, None]
            total, weight = total + near * theirs[best], weight + near
        result[f"{site}/controls"] = (total / weight).astype(base["controls"].dtype)
    return result


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


METHOD = Method("pepsy", "PEPSY embedding controls", model=PEPSYModel, combine=merge_profiles)
