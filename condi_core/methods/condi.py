"""CondI: the task model reads windows that the federated conditional diffusion model completed.

Phase 1 averages the imputer, phase 2 the task model, both per modality over the sites that trained it.
"""

from __future__ import annotations

from torch import Tensor

from condi_core.imputer.imputer import DiffusionImputer, Generators
from condi_core.methods.method import Method


def _complete(
    imputer: DiffusionImputer, values: Tensor, observed: Tensor, num_draws: int, generator: Generators
) -> Tensor:
    completion = imputer.impute(values, observed, num_draws, generator)
    return completion.draws if num_draws else completion.point[None]


METHOD = Method(
    "condi", "windows completed by diffusion", label="CondI", imputer_training="diffusion", complete=_complete
)
