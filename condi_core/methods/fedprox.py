"""FedProx: `mask`, and each step is held back to where the round began.

Li et al. 2020, arXiv:1812.06127, algorithm 2: the local loss has mu / 2 times the squared distance from the
weights that the site was sent, over all trained weights. Travels: the task model, averaged per modality.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from condi_core.methods.method import Method

MU = 0.01  # of the paper's 0.001, 0.01, 0.1 and 1, which it chooses from by validation


def proximal(model: nn.Module, start: dict[str, Tensor], mu: float) -> Tensor:
    """mu / 2 · ||w - start||²."""
    return mu / 2 * sum((p - start[name]).square().sum() for name, p in model.named_parameters())


METHOD = Method("fedprox", "zeros and mask, FedProx", penalty=partial(proximal, mu=MU))
