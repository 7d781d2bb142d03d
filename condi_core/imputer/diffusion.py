"""The noise schedule and the sampler of the diffusion, independent of the network.

With time t from 0 (data) to 1 (noise), ᾱ(t) = cos²(πt/2) (Nichol and Dhariwal 2021), alpha = √ᾱ and
sigma = √(1-ᾱ). The network predicts the velocity v = alpha ε - sigma x₀ (Salimans and Ho 2022). With the
angle θ = πt/2 the noisy sample is x = x₀ cos θ + ε sin θ, and its derivative dx/dθ is the velocity.

A sampler has `steps`, the number of evaluations of the network, and `sample(start, predict)`, which carries
`start`, drawn from a standard normal, to data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# (noisy sample, t (batch,)) → velocity
PredictVelocity = Callable[[Tensor, Tensor], Tensor]


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return √ᾱ and √(1-ᾱ) of the cosine schedule, which ends in pure noise."""
    return torch.cos(t * (math.pi / 2)), torch.sin(t * (math.pi / 2))


def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return the noisy sample at times `t` (batch,)."""
    alpha, sigma = (c.view(-1, *[1] * (clean.ndim - 1)) for c in alpha_sigma(t))
    return alpha * clean + sigma * noise


def velocity(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return the velocity at times `t` (batch,)."""
    alpha, sigma = (c.view(-1, *[1] * (clean.ndim - 1)) for c in alpha_sigma(t))
    return alpha * noise - sigma * clean


def cpu_randn(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Draw standard normal numbers on the CPU, so that a seed gives the same numbers on every device."""
    return torch.randn(tuple(shape), generator=generator).to(device)


class DiffusionNoise(NamedTuple):
    """Random numbers of one evaluation of the training loss.

    Attributes
    ----------
    noise : Tensor (batch, modality, patch, sample), standard normal, which is added to the normal scores
    placeholder : Tensor of the same shape, standard normal, the scores of what was never measured
    t : Tensor (batch,), diffusion times in [0, 1]
    """

    noise: Tensor
    placeholder: Tensor
    t: Tensor

    @classmethod
    def draw(cls, x: Tensor, generator: torch.Generator | None) -> DiffusionNoise:
        """Draw the noise for windows `x` (batch, modality, patch, sample)."""
        noise = cpu_randn(x.shape, generator, x.device)
        placeholder = cpu_randn(x.shape, generator, x.device)
        return cls(noise, placeholder, torch.rand(len(x), generator=generator).to(x.device))


def time_grid(steps: int) -> list[tuple[float, float]]:
    """Return equidistant pairs (from, to) of times from 1 down to 0."""
    grid = [1 - i / steps for i in range(steps + 1)]
    return list(zip(grid, grid[1:], strict=False))


def predict_at(predict: PredictVelocity, x: Tensor, t: float) -> Tensor:
    """Predict the velocity of all samples of a batch at one time."""
    return predict(x, torch.full((len(x),), t, device=x.device))


@dataclass(frozen=True)
class EulerSampler:
    """Euler's method on the probability flow dx/dθ = v: deterministic, first order.

    A standard normal, as normal scores are to first order, has velocity 0 and is left unchanged by any number
    of steps. A single step overshoots: it carries a mean μ to πμ/2. `benchmarks/sampling.py` compares it with
    other samplers.

    Parameters
    ----------
    steps : evaluations of the network
    """

    steps: int

    def sample(self, start: Tensor, predict: PredictVelocity) -> Tensor:
        """Carry `start` (batch, ...), standard normal, to data by the velocities of `predict`."""
        x = start
        for t, s in time_grid(self.steps):
            x = x - (t - s) * (math.pi / 2) * predict_at(predict, x, t)
        return x
