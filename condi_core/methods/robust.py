"""No imputation: a classifier made robust by losing more in training than it will in the test.

MuteBench (Zheng et al. 2026, arXiv:2605.15235) compares classifiers of incomplete windows that were trained
with modality dropout, and finds that it protects up to the largest rate of training. As described there, a
whole modality is missing or a contiguous segment of one. Our choices: of the windows of a step a third lose
modalities and a third lose a stretch in each modality, both at a rate that is uniform for each window up to
MAX_RATE, beyond the rates of our tests; the rest stay as they are, and the rate does not grow over the
training. The task model is that of `mask`.

The task model is exchanged and averaged per modality.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from condi_core.config import TaskConfig
from condi_core.methods.method import Method, Share
from condi_core.task.batch import TaskBatch
from condi_core.task.dropout import drop_modalities, drop_stretches
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

MAX_RATE = 0.9  # largest share of modalities or of time that a window loses; our choice


class RobustModel(TaskModel):
    """The task model, which trains on windows that have lost modalities or stretches."""

    def __init__(self, schema: Schema, config: TaskConfig, max_rate: float) -> None:
        super().__init__(schema, config)
        self.max_rate = max_rate

    def training_loss(self, batch: TaskBatch) -> Tensor:
        values, observed, available, labels, covariates = batch
        stays = self.drop(observed)
        return self.loss(self(values, stays, available & stays, covariates), labels)

    def drop(self, observed: Tensor) -> Tensor:
        """Return what stays observed (batch, modality, patch, sample) in a step of training."""
        n = len(observed)
        kind = torch.randint(3, (n,), generator=self.generator).to(observed.device)
        rate = self.max_rate * torch.rand(n, generator=self.generator).to(observed.device)
        stays = drop_modalities(observed, rate * (kind == 0), self.generator)
        return drop_stretches(stays, rate * (kind == 1), self.generator)


def make_robust(max_rate: Share = MAX_RATE) -> Method:
    """Make the method with another largest share of what a window loses."""
    return Method(
        "robust",
        "modality and segment dropout",
        label="dropout training",
        model=partial(RobustModel, max_rate=max_rate),
        samples_in_loss=True,
        make=make_robust,
    )


METHOD = make_robust()
