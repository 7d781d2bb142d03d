"""Samplers of the diffusion that `benchmarks/sampling.py` compares with `EulerSampler`.

They have the same interface: `steps`, the number of evaluations of the network, and `sample(start, predict)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from condi_core.imputer.diffusion import PredictVelocity, cpu_randn, predict_at, time_grid


@dataclass(frozen=True)
class DDIMSampler:
    """DDIM (Song et al. 2021): mixes the predicted clean sample and noise. Deterministic, first order.

    In terms of the velocity that is a rotation by Δθ. It is exact where the data are known, and a single step
    gives their mean. A standard normal is shrunk by cos Δθ at every step.
    """

    steps: int

    def sample(self, start: Tensor, predict: PredictVelocity) -> Tensor:
        """Carry `start`, standard normal, to data."""
        x = start
        for t, s in time_grid(self.steps):
            rotation = (t - s) * (math.pi / 2)
            x = math.cos(rotation) * x - math.sin(rotation) * predict_at(predict, x, t)
        return x


@dataclass(frozen=True)
class HeunSampler:
    """Heun's method on the probability flow, two evaluations a step. Deterministic, second order.

    The last step is Euler's (Karras et al. 2022), since its correction would need the noise in a sample that
    has none. With an even number of evaluations the last two steps are Euler's; with one or two evaluations
    all steps are Euler's.
    """

    steps: int

    def sample(self, start: Tensor, predict: PredictVelocity) -> Tensor:
        """Carry `start`, standard normal, to data."""
        x, corrected_steps = start, (self.steps - 1) // 2
        for i, (t, s) in enumerate(time_grid(self.steps - corrected_steps)):
            rotation, v = (t - s) * (math.pi / 2), predict_at(predict, x, t)
            if i < corrected_steps:
                v = (v + predict_at(predict, x - rotation * v, s)) / 2
            x = x - rotation * v
        return x


@dataclass(frozen=True)
class DDPMSampler:
    """DDPM's chain (Ho et al. 2020), which is DDIM with η = 1. Stochastic, first order.

    A step from θ to θ' keeps the fraction tan θ' / tan θ of the predicted noise and draws the rest from
    `generator`: all of it in the first step, so that nothing of `start` remains, and none in the last, so
    that a single step gives the mean of the data.
    """

    steps: int
    generator: torch.Generator | None = None

    def sample(self, start: Tensor, predict: PredictVelocity) -> Tensor:
        """Carry `start`, standard normal, to data."""
        x = start
        for t, s in time_grid(self.steps):
            angle, next_angle = t * (math.pi / 2), s * (math.pi / 2)
            v = predict_at(predict, x, t)
            clean = math.cos(angle) * x - math.sin(angle) * v
            noise = math.sin(angle) * x + math.cos(angle) * v
            retained = math.tan(next_angle) / math.tan(angle)
            fresh = cpu_randn(x.shape, self.generator, x.device)
            mixed = retained * noise + math.sqrt(1 - retained**2) * fresh
            x = math.cos(next_angle) * clean + math.sin(next_angle) * mixed
        return x
