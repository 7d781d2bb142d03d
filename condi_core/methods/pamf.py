"""PAMF: flow matching from a prior for each type of missingness, with the encoder of the classifier.

Kan, Zheng et al. 2026, arXiv:2606.06328. As described there: flow matching starts from a source that depends
on whether samples are missing within a modality or the modality is missing altogether, and the imputer and
the classifier have encoders of the same architecture and share their weights, so that the task guides what
is filled in. Only the abstract and summaries were available.

Our choices: within a modality the source is the linear interpolation of its own samples, with little noise
(SOURCE_DEVIATION); of a missing modality it is a learned linear function of the others at the same instant
(of their patch means where their rates differ), with the noise of standardised data. The path is linear from
source to data, x_t = (1 - t) source + t data, with the velocity data - source. The encoder reads x_t, the
mask and t: patches with both neighbours, convolutions in time, and attention over the modalities of a patch.
At t = 1 its pooled tokens are the features of the classifier; at other times a linear layer maps its tokens
to the velocity. In training, observed samples of a window are hidden, half of the windows lose modalities and
half stretches, and FLOW_WEIGHT times the error of the velocity and of the learned source is added to the loss
of the task. Windows are completed by EULER_STEPS steps from the source without noise, without gradients. The
classifier is otherwise that of all methods here.

There is no phase 1. The task model is exchanged and averaged per modality.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.attention import Attention
from condi_core.config import TaskConfig
from condi_core.embeddings import ModalityEmbedding, PatchEmbedding, PatchProjection
from condi_core.imputer.diffusion import cpu_randn
from condi_core.imputer.interpolation import linear_interpolation
from condi_core.methods.method import Count, Method, NonNegative, Share
from condi_core.task.batch import TaskBatch
from condi_core.task.dropout import drop_modalities, drop_stretches
from condi_core.task.model import TaskModel
from condi_core.windows import Schema, zero_unobserved

SOURCE_DEVIATION = 0.1  # of the noise of the source within a modality
MAX_RATE = 0.8  # largest share of modalities or of time that is hidden for flow matching
FLOW_WEIGHT = 0.5
EULER_STEPS = 4


class SharedEncoder(nn.Module):
    """Tokens of windows on the way from source to data, which imputer and classifier share."""

    def __init__(self, schema: Schema, config: TaskConfig) -> None:
        super().__init__()
        width = config.width
        self.patch_embedding = PatchEmbedding(schema.rate_groups, 3 * 3, width)
        self.modality_embedding = ModalityEmbedding(len(schema.modalities), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.GELU(), nn.Conv1d(width, width, 5, padding=2))
            for _ in range(config.blocks)
        )
        self.attention = Attention(width, config.heads)
        self.pool = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, observed: Tensor, t: Tensor) -> Tensor:
        """Map standardised `x` (batch, modality, patch, sample) at times `t` (batch,) to tokens.

        Returns
        -------
        Tensor (batch, modality, patch, width)
        """
        time = t[:, None, None, None].expand_as(x)
        channels = F.pad(torch.stack([x, observed.to(x.dtype), time], 3), (0, 0, 0, 0, 1, 1))
        neighbours = channels.unfold(2, 3, 1).movedim(-1, -2).flatten(3, 4)
        h = self.modality_embedding(self.patch_embedding(neighbours)).flatten(0, 1).mT
        for block in self.blocks:
            h = h + block(h)
        tokens = h.mT.unflatten(0, x.shape[:2])
        by_patch = tokens.transpose(1, 2).flatten(0, 1)
        mixed = self.attention(by_patch, by_patch.new_zeros(()))
        return mixed.unflatten(0, (len(x), -1)).transpose(1, 2)


class PAMFModel(TaskModel):
    """The task model with flow matching through its own encoder."""

    def __init__(
        self,
        schema: Schema,
        config: TaskConfig,
        source_deviation: float,
        max_rate: float,
        flow_weight: float,
        euler_steps: int,
    ) -> None:
        super().__init__(schema, config)
        self.source_deviation, self.max_rate = source_deviation, max_rate
        self.flow_weight, self.euler_steps = flow_weight, euler_steps
        self.extractor = SharedEncoder(schema, config)  # type: ignore[assignment]
        self.velocity = PatchProjection(schema.rate_groups, config.width, 1)
        self.source_weights = nn.Linear(config.pair_width, 1, bias=False)
        self.rate_groups = schema.rate_groups
        rates = torch.tensor([modality.samples_per_patch for modality in schema.modalities])
        is_sample = torch.arange(schema.samples) < rates[:, None, None]
        self.register_buffer("is_sample", is_sample, persistent=False)

    is_sample: Tensor  # (modality, 1, sample), False for padding

    def classify_windows(self, values: Tensor, observed: Tensor, available: Tensor) -> Tensor:
        x = self.standardiser(values, available).clamp(-30, 30)
        tokens = self.extractor(self.complete(x, observed), observed, x.new_ones(len(x)))
        features = self.extractor.pool(torch.cat([tokens.mean(2), tokens.amax(2)], -1))
        # What was completed is read like what was observed, in windows that have anything.
        present = observed.flatten(1).any(1, keepdim=True).expand(features.shape[:2])
        return self.classify(features, present)

    @torch.no_grad()
    def complete(self, x: Tensor, observed: Tensor) -> Tensor:
        """Carry standardised windows (batch, modality, patch, sample) from their source to data."""
        state = self.source(x, observed)
        for step in range(self.euler_steps):
            t = x.new_full((len(x),), step / self.euler_steps)
            state = state + self.predict_velocity(state, observed, t) / self.euler_steps
            state = torch.where(observed, x, state.clamp(-30, 30))
        return state

    def predict_velocity(self, state: Tensor, observed: Tensor, t: Tensor) -> Tensor:
        """Predict the velocity (batch, modality, patch, sample) at times `t` (batch,)."""
        tokens = self.extractor(state, observed, t)
        return self.velocity(tokens, state.shape[2])[:, :, :, 0] * self.is_sample

    def source(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return the source without noise (batch, modality, patch, sample); observed samples are `x`.

        Parameters
        ----------
        x : Tensor (batch, modality, patch, sample), standardised
        observed : bool Tensor of the same shape
        """
        visible, present = zero_unobserved(x, observed), observed.flatten(2).any(-1)
        interpolated, from_others = torch.zeros_like(x), torch.zeros_like(x)
        for group in self.rate_groups:
            y, mask = group.select(visible), group.select(observed)
            filled = linear_interpolation(y.flatten(2), mask.flatten(2)).view_as(y)
            interpolated[:, list(group.members), :, : group.samples] = filled
        samples = self.is_sample.sum(-1, keepdim=True)
        patch_means = (interpolated.sum(-1, keepdim=True) / samples).expand_as(x)
        weights = self.cross_modal(self.source_weights)[0]  # (target, source)
        for group in self.rate_groups:
            members = list(group.members)
            same_rate = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
            same_rate[members] = True
            sources = torch.where(same_rate[:, None, None], interpolated, patch_means)
            from_others[:, members] = torch.einsum("ts,bspn->btpn", weights[members], sources)
        filled = torch.where(present[..., None, None], interpolated, from_others * self.is_sample)
        return torch.where(observed, x, filled)

    def training_loss(self, batch: TaskBatch) -> Tensor:
        values, observed, available, labels, covariates = batch
        task_loss = self.loss(self(values, observed, available, covariates), labels)
        return task_loss + self.flow_weight * self.flow_loss(values, observed)

    def flow_loss(self, values: Tensor, observed: Tensor) -> Tensor:
        """Return the mean squared errors of velocity and source, over samples that are hidden for it."""
        x, n = self.standardiser(values, observed).clamp(-30, 30), len(values)
        rate = (self.max_rate * torch.rand(n, generator=self.generator)).to(x.device)
        loses_modalities = (torch.rand(n, generator=self.generator) < 0.5).to(x.device)
        visible = drop_modalities(observed, rate * loses_modalities, self.generator)
        visible = drop_stretches(visible, rate * ~loses_modalities, self.generator)
        target = observed & ~visible
        source, present = self.source(x, visible), visible.flatten(2).any(-1)
        deviation = torch.where(present, self.source_deviation, 1.0)[..., None, None]
        noise = deviation * cpu_randn(x.shape, self.generator, x.device)
        start = torch.where(visible, x, (source + noise) * self.is_sample).detach()
        t = torch.rand(n, generator=self.generator).to(x.device)
        state = torch.lerp(start, torch.where(target, x, start), t[:, None, None, None])
        error = self.predict_velocity(state, visible, t) - (x - start)
        errors = error.square() + (source - x).square()
        return (errors * target).sum() / target.sum().clamp(min=1)


def make_pamf(
    source_deviation: NonNegative = SOURCE_DEVIATION,
    max_rate: Share = MAX_RATE,
    flow_weight: NonNegative = FLOW_WEIGHT,
    euler_steps: Count = EULER_STEPS,
) -> Method:
    """Make the method with another flow matching."""
    model = partial(
        PAMFModel,
        source_deviation=source_deviation,
        max_rate=max_rate,
        flow_weight=flow_weight,
        euler_steps=euler_steps,
    )
    return Method(
        "pamf",
        "flow matching, shared encoder",
        label="PAMF",
        model=model,
        samples_in_loss=True,
        make=make_pamf,
    )


METHOD = make_pamf()
