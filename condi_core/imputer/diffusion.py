"""Noise schedule and samplers. They know nothing of the network; the network knows nothing of them.

Code names and symbols: `signal` √ᾱ, `noise` √(1-ᾱ), `velocity` v = √ᾱ ε - √(1-ᾱ) x₀ (Salimans and Ho
2022), time t from 0 (data) to 1 (noise), ᾱ(t) = cos²(πt/2) (Nichol and Dhariwal 2021). With the angle
θ = πt/2 the noisy sample is x = x₀ cos θ + ε sin θ, and its derivative dx/dθ is the velocity.

A sampler has `steps`, how often it asks for a velocity, and `sample(start, predict)`: it carries `start`,
drawn from a standard normal, to data; `predict(noisy, t)` gives velocities, t of shape (batch,).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ and √(1-ᾱ) of the cosine schedule, which ends in pure noise."""
    return torch.cos(t * (math.pi / 2)), torch.sin(t * (math.pi / 2))


def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    a, s = (c.view(-1, *[1] * (clean.ndim - 1)) for c in alpha_sigma(t))
    return a * clean + s * noise


def velocity(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    a, s = (c.view(-1, *[1] * (clean.ndim - 1)) for c in alpha_sigma(t))
    return a * noise - s * clean


def cpu_randn(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Drawn on the CPU whichever device asks, so that a seed means the same on all of them."""
    return torch.randn(tuple(shape), generator=generator).to(device)


def time_grid(steps: int) -> list[tuple[float, float]]:
    """Pairs (from, to) from 1 down to 0, all as far apart."""
    grid = [1 - i / steps for i in range(steps + 1)]
    return list(zip(grid, grid[1:], strict=False))


def _predicted(predict: Predict, x: Tensor, t: float) -> Tensor:
    return predict(x, torch.full((len(x),), t, device=x.device))


@dataclass(frozen=True)
class EulerSampler:
    """Deterministic: Euler's method on the flow of probability, dx/dθ = v. First order.

    A standard normal, which is what residuals are to first order, has velocity 0 and is left as it is in any
    number of steps. A single step overshoots: it carries a mean μ to πμ/2.
    """

    steps: int

    def sample(self, start: Tensor, predict: Predict) -> Tensor:
        x = start
        for t, s in time_grid(self.steps):
            x = x - (t - s) * (math.pi / 2) * _predicted(predict, x, t)
        return x


@dataclass(frozen=True)
class DDIMSampler:
    """Deterministic DDIM (Song et al. 2021): clean sample and noise as predicted, mixed anew. First order.

    In terms of the velocity that is a rotation by Δθ. It is exact where the data are known, a single step
    gives their mean; a standard normal it shrinks by cos Δθ at every step.
    """

    steps: int

    def sample(self, start: Tensor, predict: Predict) -> Tensor:
        x = start
        for t, s in time_grid(self.steps):
            turn = (t - s) * (math.pi / 2)
            x = math.cos(turn) * x - math.sin(turn) * _predicted(predict, x, t)
        return x


@dataclass(frozen=True)
class HeunSampler:
    """Deterministic: Heun's method on the flow of probability, two evaluations a step. Second order.

    The last step is Euler's (Karras et al. 2022): its correction would ask for the noise in a sample that
    has none. With an even number of evaluations the last two are; one or two evaluations are Euler's
    method alone.
    """

    steps: int

    def sample(self, start: Tensor, predict: Predict) -> Tensor:
        x, corrected = start, (self.steps - 1) // 2
        for i, (t, s) in enumerate(time_grid(self.steps - corrected)):
            turn, v = (t - s) * (math.pi / 2), _predicted(predict, x, t)
            if i < corrected:
                v = (v + _predicted(predict, x - turn * v, s)) / 2
            x = x - turn * v
        return x


@dataclass(frozen=True)
class DDPMSampler:
    """Stochastic: DDPM's chain (Ho et al. 2020), which is DDIM with η = 1. First order.

    Of the predicted noise a step from θ to θ' keeps the share tan θ' / tan θ, the rest is drawn anew from
    `generator`: all of it in the first step, so that nothing is left of `start`, and none in the last, so
    that a single step gives the mean of the data.
    """

    steps: int
    generator: torch.Generator | None = None

    def sample(self, start: Tensor, predict: Predict) -> Tensor:
        x = start
        for t, s in time_grid(self.steps):
            angle, to = t * (math.pi / 2), s * (math.pi / 2)
            v = _predicted(predict, x, t)
            clean = math.cos(angle) * x - math.sin(angle) * v
            noise = math.sin(angle) * x + math.cos(angle) * v
            kept = math.tan(to) / math.tan(angle)
            fresh = cpu_randn(x.shape, self.generator, x.device)
            x = math.cos(to) * clean + math.sin(to) * (kept * noise + math.sqrt(1 - kept**2) * fresh)
        return x
