"""PEPSY: learned controls, selected by which modalities are missing, turn shared features into complete ones.

Nguyen et al. 2025 (NeurIPS), arXiv:2510.22880. As described there: a modality is represented by its
embedding, its features (the mean of the present ones where it is missing) and the mean of those SELECTED of a
profile's controls that its query is most similar to, all three concatenated. The loss is that of the task,
plus CONTRASTIVE_WEIGHT times two contrastive losses (between the features of a window's modalities, and
between a reconfigured modality and the whole window), minus QUERY_WEIGHT times the similarity of query and
selected controls. Modalities are then fused by attention over their own similarities, with a gate. Sites have
profiles of their own, and the coordinator merges similar controls.

Our choices, where the description is open: the query reads the features and the observed fraction of the
modality, and the mean of controls is weighted by similarity, through which query and key learn; the fused
modalities are averaged and classified, with the heads per modality that all task models here have; the
classifier starts with a linear map of the three parts. The profile keeps its size, so the paper's
non-parametric clustering (PFPT) becomes: each control of a site is averaged, by windows, with the most
similar one of every other site whose cosine is at least MERGE_COSINE. A profile that is like no other thus
stays as it is, and equal profiles stay equal.

The task model is exchanged and averaged by FedAvg per modality. Of the profile (`controls`) the coordinator
keeps a version per site; it writes one file per site.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.averaging import Arrays, SiteUpdate, average, site_view
from condi_core.config import ConfigError, TaskConfig
from condi_core.methods.method import Count, Method, NonNegative, Positive, Share
from condi_core.ownership import Owner
from condi_core.task.batch import TaskBatch
from condi_core.task.contrastive import info_nce, masked_mean, modality_contrastive_loss
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

CONTROLS = 16  # controls in a profile; our choice
SELECTED = 4  # controls selected for one modality of a window; our choice
CONTRASTIVE_WEIGHT = 0.1  # lambda of the loss; our choice
QUERY_WEIGHT = 0.1  # eta of the loss; our choice
TEMPERATURE = 0.5  # our choice
MERGE_COSINE = 0.5  # smallest cosine of controls that are merged; our choice


class PEPSYModel(TaskModel):
    """The task model of PEPSY; `controls` (control, width) is the site's profile."""

    samples: Tensor

    def __init__(
        self,
        schema: Schema,
        config: TaskConfig,
        controls: int,
        selected: int,
        contrastive_weight: float,
        query_weight: float,
        temperature: float,
    ) -> None:
        super().__init__(schema, config)
        self.selected, self.temperature = selected, temperature
        self.contrastive_weight, self.query_weight = contrastive_weight, query_weight
        del self.modality_attention, self.cls_token, self.pooling_attention, self.cross_modal, self.pair_bias
        width = config.width
        self.controls = nn.Parameter(torch.randn(controls, width))
        self.query = nn.Linear(width + 1, width)
        self.key = nn.Linear(width, width)
        self.compose = nn.Linear(3 * width, width)
        self.gate = nn.Linear(2 * width, width)
        samples = torch.tensor([float(schema.patches * m.samples_per_patch) for m in schema.modalities])
        self.register_buffer("samples", samples, persistent=False)

    def classify_windows(self, values: Tensor, observed: Tensor, available: Tensor) -> Tensor:
        features = self.extract_features(values, observed, available)
        complete, _ = self.reconfigure(features, self.observed_fraction(observed))
        return self.classify_complete(complete)

    def reconfigure(self, features: Tensor, observed_fraction: Tensor) -> tuple[Tensor, Tensor]:
        """Complete the features of all modalities by the controls.

        Parameters
        ----------
        features : Tensor (batch, modality, width)
        observed_fraction : Tensor (batch, modality); 0 where the modality is missing

        Returns
        -------
        complete : Tensor (batch, modality, width)
        similarity : Tensor, a scalar: mean similarity of queries and selected controls
        """
        present = observed_fraction > 0
        features = torch.where(present[..., None], features, masked_mean(features, present)[:, None])
        query = F.normalize(self.query(torch.cat([features, observed_fraction[..., None]], -1)), dim=-1)
        key = F.normalize(self.key(self.controls), dim=-1)
        similarity, selected = (query @ key.mT).topk(self.selected, -1)
        control = (similarity.softmax(-1)[..., None] * self.controls[selected]).sum(-2)
        identity = self.extractor.modality_embedding.weight.expand_as(features)
        complete = self.compose(torch.cat([identity, features, control], -1))
        return complete, similarity.mean()

    def classify_complete(self, complete: Tensor) -> Tensor:
        """Compute the outputs (batch, output): modalities are fused by similarity, gated and averaged."""
        similarity = (complete @ complete.mT * complete.shape[-1] ** -0.5).softmax(-1)
        mixed = similarity @ complete
        gate = self.gate(torch.cat([complete, mixed], -1)).sigmoid()
        fused = torch.lerp(complete, mixed, gate)
        return self.classifier(fused.mean(1)) + self.modality_logits(fused, torch.ones_like(fused[..., 0]))

    def training_loss(self, batch: TaskBatch) -> Tensor:
        values, observed, available, labels, covariates = batch
        observed_fraction = self.observed_fraction(observed)
        features, present = self.extract_features(values, observed, available), observed_fraction > 0
        complete, similarity = self.reconfigure(features, observed_fraction)
        between_modalities = modality_contrastive_loss(features, present, self.temperature)
        window_mean = masked_mean(complete, present)
        with_window = sum(info_nce(part, window_mean, self.temperature) for part in complete.unbind(1))
        contrastive_loss = between_modalities + with_window / complete.shape[1]
        outputs = self.add_covariates(self.classify_complete(complete), covariates)
        task_loss = self.loss(outputs, labels)
        return task_loss + self.contrastive_weight * contrastive_loss - self.query_weight * similarity

    def observed_fraction(self, observed: Tensor) -> Tensor:
        """Return the observed fraction of each modality's samples (batch, modality)."""
        return observed.flatten(2).float().sum(-1) / self.samples


def merge_profiles(
    base: Arrays, owners: dict[str, Owner], updates: Sequence[SiteUpdate], merge_cosine: float = MERGE_COSINE
) -> Arrays:
    """Average by FedAvg, except the profiles: merge each site's controls with similar ones of other sites."""
    result = average(base, owners, updates)
    result["controls"] = base["controls"]  # the shared version, which no site uses
    profiles = {update.site: update.arrays["controls"].astype(np.float64) for update in updates}
    for site, profile in profiles.items():
        total = np.zeros_like(profile)
        total_weight = np.zeros((len(profile), 1))
        for other in updates:
            other_profile = profiles[other.site]
            cosine = _normalise_rows(profile) @ _normalise_rows(other_profile).T
            nearest = np.arange(len(profile)) if other.site == site else cosine.argmax(1)
            is_similar = cosine[np.arange(len(profile)), nearest] >= merge_cosine
            weight = other.windows * is_similar[:, None]
            total, total_weight = total + weight * other_profile[nearest], total_weight + weight
        start = site_view(base, site)[
            "controls"
        ]  # for a site without weight, which robust averaging excluded
        mean = np.where(total_weight > 0, total / np.where(total_weight > 0, total_weight, 1), start)
        result[f"{site}/controls"] = mean.astype(base["controls"].dtype)
    return result


def _normalise_rows(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def make_pepsy(
    controls: Count = CONTROLS,
    selected: Count = SELECTED,
    contrastive_weight: NonNegative = CONTRASTIVE_WEIGHT,
    query_weight: NonNegative = QUERY_WEIGHT,
    temperature: Positive = TEMPERATURE,
    merge_cosine: Share = MERGE_COSINE,
) -> Method:
    """Make the method with other profiles and losses."""
    if selected > controls:
        raise ConfigError(f"method 'pepsy' cannot select {selected} of {controls} controls: lower `selected`")
    model = partial(
        PEPSYModel,
        controls=controls,
        selected=selected,
        contrastive_weight=contrastive_weight,
        query_weight=query_weight,
        temperature=temperature,
    )
    return Method(
        "pepsy",
        "PEPSY embedding controls",
        label="PEPSY",
        model=model,
        combine=partial(merge_profiles, merge_cosine=merge_cosine),
        contrasts_windows=True,
        make=make_pepsy,
    )


METHOD = make_pepsy()
