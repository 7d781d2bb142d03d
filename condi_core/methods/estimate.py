"""The closed-form estimate: the conditional mean of every missing sample given all observed ones.

Phase 1 consists of the rounds that estimate the cross-spectrum between modalities (sums and EM); no diffusion
model is trained, and modalities of different rates are not related. A window has one completion, whatever
`task.completions` is. Spectra are exchanged, then the task model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condi_core.imputer.imputer import DiffusionImputer, Generators
from condi_core.methods.method import Method


def _complete(
    imputer: DiffusionImputer, values: Tensor, observed: Tensor, num_draws: int, generator: Generators
) -> Tensor:
    estimate = imputer.prepare(values, observed).references.conditional_mean
    completed = torch.where(observed, values, imputer.standardiser.inverse(estimate))
    return completed.expand(max(num_draws, 1), *completed.shape)


METHOD = Method(
    "estimate",
    "closed-form estimate",
    label="closed-form estimate",
    imputer_training="relation",
    complete=_complete,
)
