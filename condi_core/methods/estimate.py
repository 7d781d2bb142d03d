"""The closed-form estimate: the conditional mean of every hidden sample given all that was observed.

Phase 1 is the rounds of the relation between modalities alone (sums and EM), no diffusion model is trained;
modalities of different rates are not related. One completion per window, whatever `task.completions` says.
Travels: spectra, then the task model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condi_core.imputer.imputer import Imputer
from condi_core.methods.method import Method


def _complete(
    imputer: Imputer, values: Tensor, observed: Tensor, draws: int, generator: torch.Generator
) -> Tensor:
    estimate = imputer.prepare(values, observed).references.conditional_mean
    completed = torch.where(observed, values, imputer.standardiser.inverse(estimate))
    return completed.expand(max(draws, 1), *completed.shape)


METHOD = Method("estimate", "closed-form estimate", imputer_training="relation", complete=_complete)
