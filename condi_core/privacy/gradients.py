"""DP-SGD per patient (Abadi et al. 2016, algorithm 1): gradients of single patients, clipped and noised."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from condi_core.optimizer import Optimizer
from condi_core.phase_config import TrainingConfig
from condi_core.privacy.noise import secure_gaussian_noise

PATIENTS_PER_PASS = 32  # whose gradients are in memory at once

Batch = TypeVar("Batch", bound=tuple)


class GradientPrivacy(NamedTuple):
    """How the gradient of a step is made private.

    Attributes
    ----------
    clip : largest L2 norm of a patient's gradient, over all trained weights
    noise_multiplier : standard deviation of the noise in the sum of gradients, in units of `clip`
    expected_patients : by which the sum is divided; the number of patients that a step samples on average
    """

    clip: float
    noise_multiplier: float
    expected_patients: float


def train_steps_privately(
    model: nn.Module,
    loss: Callable[[Any], Tensor],
    batches: Iterable[Batch | None],
    config: TrainingConfig,
    learning_rate: float,
    privacy: GradientPrivacy,
    deadline: float = math.inf,
) -> int:
    """Take one optimiser step per batch, with a noisy sum of clipped gradients of patients.

    Parameters
    ----------
    model : trained in place
    loss : maps a batch of one window to a scalar
    batches : one per step, tuples of tensors (patient, ...) with one window per sampled patient; None where
        no patient was sampled
    config : choice of the optimiser
    learning_rate : learning rate of all steps
    privacy : bounds and noise
    deadline : time of `time.monotonic()`, in seconds; the first step that ends after it is the last

    Returns
    -------
    int, the number of steps taken
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = Optimizer(parameters.values(), config.optimizer, learning_rate)
    model.train()
    steps = 0
    for batch in batches:
        sums = sum_clipped_gradients(model, loss, batch, privacy.clip)
        for name, parameter in parameters.items():
            noise = torch.from_numpy(secure_gaussian_noise(tuple(parameter.shape)))
            noisy = sums[name].double().cpu() + privacy.noise_multiplier * privacy.clip * noise
            parameter.grad = (noisy / privacy.expected_patients).to(parameter)
        optimizer.step()
        steps += 1
        if time.monotonic() > deadline:
            break
    model.eval()
    return steps


def sum_clipped_gradients(
    model: nn.Module, loss: Callable[[Any], Tensor], batch: Batch | None, clip: float
) -> dict[str, Tensor]:
    """Sum the gradients of patients, each clipped to the norm `clip`, by the name of the parameter.

    A gradient that is not finite counts as zero: that training goes on must not depend on one patient.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    if batch is None:
        return sums
    objective = _Objective(model, loss)

    def patient_loss(weights: dict[str, Tensor], window: Any) -> Tensor:
        batch_of_one = pytree.tree_map(lambda tensor: tensor[None], window)
        return functional_call(
            objective, {f"model.{name}": w for name, w in weights.items()}, (batch_of_one,)
        )

    gradients_of = vmap(grad(patient_loss), in_dims=(None, 0))
    for start in range(0, len(pytree.tree_leaves(batch)[0]), PATIENTS_PER_PASS):
        part = pytree.tree_map(lambda tensor, at=start: tensor[at : at + PATIENTS_PER_PASS], batch)
        with sdpa_kernel(SDPBackend.MATH):  # the only one that is computed for all patients at once
            gradients = gradients_of(parameters, part)
        for name, summed in sum_clipped(gradients, clip).items():
            sums[name] += summed
    return sums


def sum_clipped(contributions: dict[str, Tensor], clip: float) -> dict[str, Tensor]:
    """Sum contributions (patient, ...) of several arrays, whose joint L2 norm per patient is at most `clip`.

    A contribution with a number that is not finite counts as zero.
    """
    norms = torch.stack([c.double().flatten(1).norm(dim=1) for c in contributions.values()]).norm(dim=0)
    finite = norms.isfinite()
    factors = (clip / norms.clamp(min=1e-30)).clamp(max=1)
    return {
        name: torch.einsum("p...,p->...", c[finite], factors[finite].to(c.dtype))
        for name, c in contributions.items()
    }


class _Objective(nn.Module):
    """A model with its loss, as one module whose weights `functional_call` can replace."""

    def __init__(self, model: nn.Module, loss: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(batch)
