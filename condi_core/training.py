"""The local training loop of all phases and methods, its learning rate, and the seeds of random streams."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from condi_core.optimizer import Optimizer
from condi_core.phase_config import TrainingConfig

Batch = TypeVar("Batch")


def derive_seed(*parts: object) -> int:
    """Derive a seed of 63 bits.

    Parameters
    ----------
    parts : values that the seed depends on, such as the run's seed, the phase, the round and the site

    Returns
    -------
    int, the same on every machine and engine
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def cosine_rate(rate: float, round_: int, rounds: int) -> float:
    """Return the learning rate of a round, which falls along a cosine to a tenth of the first one.

    Parameters
    ----------
    rate : learning rate of the first round
    round_ : number of the round, from 1
    rounds : number of rounds
    """
    progress = (round_ - 1) / max(rounds - 1, 1)
    return rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))


def train_steps(
    model: nn.Module,
    loss: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    config: TrainingConfig,
    learning_rate: float,
    deadline: float = math.inf,
) -> tuple[float, int]:
    """Take one optimiser step per batch.

    Parameters
    ----------
    model : trained in place
    loss : maps a batch to a scalar
    batches : one per step
    config : choice of the optimiser
    learning_rate : learning rate of all steps
    deadline : time of `time.monotonic()`, in seconds; the first step that ends after it is the last, so that
        a slow site still answers in time

    Returns
    -------
    mean : mean loss of the steps
    steps : number of steps taken

    Raises
    ------
    FloatingPointError
        The loss is not finite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = Optimizer(parameters, config.optimizer, learning_rate)
    model.train()
    total, steps = 0.0, 0
    for batch in batches:
        value = loss(batch)
        if not torch.isfinite(value):
            raise FloatingPointError(f"the training loss is {value.item()} after {steps} steps")
        optimizer.clear_gradients()
        value.backward()
        if config.optimizer != "sgd":
            nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        total, steps = total + value.item(), steps + 1
        if time.monotonic() > deadline:
            break
    model.eval()
    return total / max(steps, 1), steps
