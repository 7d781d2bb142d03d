"""Train the imputer in one process on the stays of all sites together, for a given time.

A run of a federation draws masks of all kinds, because sites lose whole modalities and stretches too. Here
they are single cells, as in the test of the protocols, and a step costs no message.
"""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import torch
from published.stays import HOURS, VARIABLES
from torch import Tensor, nn

from condi_core.config import ImputerConfig
from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.optimizer import Optimizer
from condi_core.windows import WINDOWS_PER_BLOCK, Schema

RELATION_ROUNDS = 6
COPIES = 5  # masks of each stay
HIDDEN_SHARES = (0.05, 0.9)
BATCH, LEARNING_RATE, WARM_UP_STEPS = 32, 0.002, 50
AVERAGED_STEPS = 100  # about as many of the last steps are averaged (exponentially)


def train_pooled(config: ImputerConfig, values: np.ndarray, seconds: float) -> tuple[DiffusionImputer, float]:
    """Train the imputer: the relation between variables, and `seconds` of gradient steps.

    Parameters
    ----------
    config : of the network; its rounds, steps and batch do not matter
    values : (stay, hour, variable), NaN where not measured
    seconds : processor time of the gradient steps

    Returns
    -------
    model : DiffusionImputer
    seconds : processor time of everything
    """
    generator, start = torch.Generator().manual_seed(0), time.process_time()
    torch.manual_seed(0)
    model = DiffusionImputer(make_schema(), config)
    observed = torch.from_numpy(~np.isnan(values)).mT[..., None]
    x = torch.from_numpy(np.nan_to_num(values)).float().mT[..., None]
    model.standardiser.fit(model.standardiser.sums(x, observed))
    with torch.no_grad():
        estimate_relation(model, model.standardiser(x, observed), observed, generator)
        prepared = prepare_copies(model, x, observed, generator)
    model = take_steps(model, prepared, seconds, generator)
    return model, time.process_time() - start


def make_schema() -> Schema:
    """Return the schema of hourly cells of all variables."""
    modalities = tuple(
        Schema.Modality(name=name, unit="standard deviations", samples_per_patch=1) for name in VARIABLES
    )
    return Schema(
        dataset="physionet-2012-cells", modalities=modalities, patch_seconds=3600.0, patches=HOURS,
        labels=(), task="none",
    )  # fmt: skip


def estimate_relation(
    model: DiffusionImputer, x: Tensor, observed: Tensor, generator: torch.Generator
) -> None:
    """Estimate the cross-spectrum of standardised stays."""
    cross_spectrum = model.closed_form.cross_spectra[0]
    for round_ in range(RELATION_ROUNDS):
        total, counts = 0.0, 0.0
        for start in range(0, len(x), WINDOWS_PER_BLOCK):
            block = slice(start, start + WINDOWS_PER_BLOCK)
            for part in model.closed_form.sufficient_statistics(
                x[block], observed[block], round_ == 0, generator
            ):
                total, counts = total + part.spectra.double(), counts + part.counts
        cross_spectrum.spectrum.copy_((total / counts.clamp(min=1)[:, :, None, None]).float())


def prepare_copies(
    model: DiffusionImputer, values: Tensor, observed: Tensor, generator: torch.Generator
) -> ConditionedBatch:
    """Hide cells of each stay several times, another share of them each time."""
    parts, (smallest, largest) = [], HIDDEN_SHARES
    for _ in range(COPIES):
        for start in range(0, len(values), WINDOWS_PER_BLOCK):
            block = slice(start, start + WINDOWS_PER_BLOCK)
            x, measured = values[block], observed[block]
            share = smallest + (largest - smallest) * torch.rand(len(x), 1, 1, 1, generator=generator)
            hidden = measured & (torch.rand(x.shape, generator=generator) < share)
            parts.append(model.prepare(x, measured & ~hidden, hidden))
    return ConditionedBatch.concatenate(parts)


def take_steps(
    model: DiffusionImputer, prepared: ConditionedBatch, seconds: float, generator: torch.Generator
) -> DiffusionImputer:
    """Return the average of the model over its last steps; the learning rate falls along a cosine."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer, average = Optimizer(parameters, "adamw", LEARNING_RATE), copy.deepcopy(model)
    start, step, order = time.process_time(), 0, torch.empty(0, dtype=torch.long)
    while (progress := (time.process_time() - start) / seconds) < 1:
        if len(order) < BATCH:
            order = torch.randperm(len(prepared.x), generator=generator)
        batch, order = prepared.select(order[:BATCH], slice(None)), order[BATCH:]
        step += 1
        warm_up, decay = min(1.0, step / WARM_UP_STEPS), 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.learning_rate = LEARNING_RATE * warm_up * (0.02 + 0.98 * decay)
        loss = model.loss(batch, generator)
        optimizer.clear_gradients()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        weight = 1 / min(AVERAGED_STEPS, 1 + step / 10)
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(parameter, weight)
    print(f"{step} steps of {BATCH} stays in {seconds:.0f} s", flush=True)
    return average
