"""Optimisers from PyTorch's functional forms.

The classes of `torch.optim` import PyTorch's compiler when the first of them is made, which takes as much
processor time as PyTorch itself. A site's process lives for one message, so it would pay this in each round.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

ADAMW_WEIGHT_DECAY = 1e-4


class Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) with weight decay 1e-4, or plain SGD.

    Parameters
    ----------
    parameters : updated in place by `step`; those without a gradient stay as they are
    algorithm : "adamw" or "sgd"
    learning_rate : of all steps
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], algorithm: Literal["adamw", "sgd"], learning_rate: float
    ) -> None:
        self.parameters = list(parameters)
        self.algorithm = algorithm
        self.learning_rate = learning_rate
        self._moments: dict[Tensor, tuple[Tensor, Tensor, Tensor]] = {}

    def clear_gradients(self) -> None:
        """Remove the gradients of the last step."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        updated: list[Tensor] = [p for p in self.parameters if p.grad is not None]
        gradients = [p.grad for p in updated if p.grad is not None]
        if self.algorithm == "sgd":
            sgd(
                updated,
                gradients,
                [None] * len(updated),
                weight_decay=0,
                momentum=0,
                lr=self.learning_rate,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
            return
        moments = [self._moments_of(parameter) for parameter in updated]
        adamw(
            updated,
            gradients,
            [first for first, _, _ in moments],
            [second for _, second, _ in moments],
            [],
            [steps for _, _, steps in moments],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=ADAMW_WEIGHT_DECAY,
            eps=1e-8,
            maximize=False,
        )

    def _moments_of(self, parameter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first moment, the second moment and the number of steps, which start at zero."""
        if parameter not in self._moments:
            self._moments[parameter] = (
                torch.zeros_like(parameter),
                torch.zeros_like(parameter),
                torch.tensor(0.0),
            )
        return self._moments[parameter]
