"""Noise schedule and sampler. They know nothing of the network; the network knows nothing of them.

Code names and symbols: `signal` √ᾱ, `noise` √(1-ᾱ), `velocity` v = √ᾱ ε - √(1-ᾱ) x₀ (Salimans and Ho
2022), time t from 0 (data) to 1 (noise), ᾱ(t) = cos²(πt/2) (Nichol and Dhariwal 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def signal_and_noise(t: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ and √(1-ᾱ) of the cosine schedule, which ends in pure noise."""
    return torch.cos(t * (math.pi / 2)), torch.sin(t * (math.pi / 2))


def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    a, s = (c.view(-1, *[1] * (clean.ndim - 1)) for c in signal_and_noise(t))
    return a * clean + s * noise


def velocity(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    a, s = (c.view(-1, *[1] * (clean.ndim - 1)) for c in signal_and_noise(t))
    return a * noise - s * clean


@dataclass(frozen=True)
class ProbabilityFlow:
    """Deterministic sampler: Euler's method, in `steps` evaluations, on the flow of probability.

    With the angle θ = πt/2 the noisy sample is x = x₀ cos θ + ε sin θ and its derivative dx/dθ is the
    velocity. A standard normal, which is what residuals are to first order, has velocity 0 and is left as
    it is in any number of steps; DDIM's rotation would shrink it by cos Δθ at every step.
    """

    steps: int

    def times(self) -> list[tuple[float, float]]:
        """Pairs (from, to) from 1 down to 0."""
        grid = [1 - i / self.steps for i in range(self.steps + 1)]
        return list(zip(grid, grid[1:], strict=False))

    def step(self, noisy: Tensor, v: Tensor, t: float, s: float) -> Tensor:
        """From time `t` to the earlier time `s`, given the velocity predicted at `t`."""
        return noisy - (t - s) * (math.pi / 2) * v

    def sample(self, start: Tensor, predict: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Carry `start`, drawn from a standard normal, to data; `predict(noisy, t)` gives velocities."""
        x = start
        for t, s in self.times():
            x = self.step(x, predict(x, torch.full((len(x),), t, device=x.device)), t, s)
        return x
