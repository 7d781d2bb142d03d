"""What two modalities of 1 Hz cost beside three of 100 Hz, and what they would cost at 100 Hz.

    python benchmarks/rates.py

Sleep windows of 30 s: seconds for the references of eight windows, for a training step of the imputer and
for one of the task model, and parameters that travel; on one thread, best of five, as a ratio to the three
fast modalities alone.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import torch

from condi_core.config import RunConfig
from condi_core.imputer.imputer import Imputer
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

SETS = {"3 fast": (100,) * 3, "3 fast, 2 slow": (100,) * 3 + (1,) * 2, "5 fast": (100,) * 5}


def settings() -> RunConfig:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    flat = {}
    for key, value in project["tool"]["flwr"]["app"]["config"].items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return RunConfig.from_flat(flat)


def best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(rates: tuple[int, ...], config: RunConfig) -> dict[str, float]:
    modalities = tuple(
        Schema.Modality(name=f"m{i}", unit="uV", samples_per_patch=rate) for i, rate in enumerate(rates)
    )
    schema = Schema(
        dataset="sleep", modalities=modalities, patch_seconds=1.0, patches=30, labels=("W", "REM"),
        task="single-label",
    )  # fmt: skip
    imputer, task = Imputer(schema, config.imputer), TaskModel(schema, config.task)
    own = torch.arange(100) < torch.tensor(rates)[:, None, None]
    values = torch.randn(8, *schema.shape) * own
    seen = (torch.rand(values.shape) < 0.7) & own
    hidden, labels = own & ~seen, torch.eye(2)[torch.arange(8) % 2]
    prepared, generator = imputer.prepare(values, seen, hidden), torch.Generator().manual_seed(0)
    return {
        "references": best(lambda: imputer.prepare(values, seen, hidden)),
        "imputer step": best(lambda: imputer.loss(prepared, generator).backward()),
        "task step": best(lambda: task.loss(task(values, seen, seen), labels).backward()),
        "parameters": sum(p.numel() for model in (imputer, task) for p in model.parameters()),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = {name: measure(rates, settings()) for name, rates in SETS.items()}
    alone = found["3 fast"]
    print(f"{'':<16}" + "".join(f"{what:>16}" for what in alone))
    for name, row in found.items():
        print(f"{name:<16}" + "".join(f"{row[what] / alone[what]:>16.2f}" for what in alone))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
