"""FedProx: `mask` with a penalty on the distance from the weights at the start of the round.

Li et al. 2020, arXiv:1812.06127, algorithm 2: mu / 2 times the squared distance from the weights that the
site was sent, over all trained weights, is added to the local loss. The task model is exchanged and averaged
per modality.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from condi_core.methods.method import Method, NonNegative

MU = 0.01  # one of 0.001, 0.01, 0.1 and 1, among which the paper chooses by validation


def proximal_penalty(model: nn.Module, start: dict[str, Tensor], mu: float) -> Tensor:
    """Return mu / 2 · ||w - start||² over all parameters."""
    distance = torch.zeros(())
    for name, parameter in model.named_parameters():
        distance = distance + (parameter - start[name]).square().sum()
    return mu / 2 * distance


def make_fedprox(mu: NonNegative = MU) -> Method:
    """Make the method with another weight of the penalty."""
    penalty = partial(proximal_penalty, mu=mu)
    return Method("fedprox", "zeros and mask, FedProx", label="FedProx", penalty=penalty, make=make_fedprox)


METHOD = make_fedprox()
