"""Measure what two modalities of 1 Hz cost next to three of 100 Hz, and what they would cost at 100 Hz.

    python benchmarks/rates.py

The windows are of sleep, 30 s long. The columns are the seconds for the closed-form estimates of eight
windows, for a training step of the imputer and for one of the task model, and the number of parameters that
are exchanged: on one thread, best of five, as a ratio to the three fast modalities alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.task.batch import TaskBatch
from condi_core.task.model import TaskModel
from condi_core.windows import Schema
from server_app.operations.run_config import default_settings

RATES = {"3 fast": (100,) * 3, "3 fast, 2 slow": (100,) * 3 + (1,) * 2, "5 fast": (100,) * 5}


def best_seconds(work: Callable[[], object]) -> float:
    """Return the best of five runs."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(rates: tuple[int, ...], config: RunConfig) -> dict[str, float]:
    """Return seconds and number of parameters for modalities of these rates."""
    modalities = tuple(
        Schema.Modality(name=f"m{i}", unit="uV", samples_per_patch=rate) for i, rate in enumerate(rates)
    )
    schema = Schema(
        dataset="sleep",
        modalities=modalities,
        patch_seconds=1.0,
        patches=30,
        labels=("W", "REM"),
        task="single-label",
    )
    imputer, task = DiffusionImputer(schema, config.imputer), TaskModel(schema, config.task)
    is_sample = torch.arange(100) < torch.tensor(rates)[:, None, None]  # the rest is padding
    values = torch.randn(8, *schema.shape) * is_sample
    conditioning = (torch.rand(values.shape) < 0.7) & is_sample
    target, labels = is_sample & ~conditioning, torch.eye(2)[torch.arange(8) % 2]
    prepared, generator = imputer.prepare(values, conditioning, target), torch.Generator().manual_seed(0)
    return {
        "references": best_seconds(lambda: imputer.prepare(values, conditioning, target)),
        "imputer step": best_seconds(lambda: imputer.loss(prepared, generator).backward()),
        "task step": best_seconds(
            lambda: task.training_loss(TaskBatch(values, conditioning, conditioning, labels)).backward()
        ),
        "parameters": sum(p.numel() for model in (imputer, task) for p in model.parameters()),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = RunConfig.from_flat(default_settings())
    results = {name: measure(rates, config) for name, rates in RATES.items()}
    baseline = results["3 fast"]
    print(f"{'':<16}" + "".join(f"{what:>16}" for what in baseline))
    for name, row in results.items():
        print(f"{name:<16}" + "".join(f"{row[what] / baseline[what]:>16.2f}" for what in baseline))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
