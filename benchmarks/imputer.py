"""What the imputer costs: estimate, training step, completed windows, memory.

    python benchmarks/imputer.py [--threads 1] [--device cuda] [--windows 128]

Generated windows of three kinds with half of their samples seen, pyproject's settings, each kind in a process
of its own. Milliseconds are the best of three, and beside them as a multiple of a yardstick measured in the
same process, so that machines can be compared: a matrix product of 1024 × 1024 float32. A training step is
loss, gradient and AdamW on a crop; its estimate, of the whole window, serves REUSE steps. Completion has
its estimate in it. Memory is the most that the process had, with Python and torch, or on a GPU what torch
allocated there. On a GPU the network is measured in bfloat16 as well; the estimate stays in float32.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

from client_app.node.imputer_phase import EPOCHS_PER_PREPARATION
from condi_core.config import ImputerConfig, RunConfig
from condi_core.imputer.imputer import Imputer, median_over_draws
from condi_core.windows import Schema

ICU_TOKEN_PATCHES = 8  # of one hour each
STAYS = 800


@dataclass(frozen=True)
class Kind:
    """`windows` (windows, modality, patch, sample), and how many draws a median is made of."""

    windows: tuple[int, int, int, int]
    draws: int
    settings: tuple[tuple[str, object], ...] = ()


ICU = Kind((32, 37, 48, 1), draws=10, settings=(("imputer.token-patches", ICU_TOKEN_PATCHES),))
KINDS = {
    "ECG, 2.5 s": Kind((32, 12, 25, 10), draws=5),
    "ECG, 10 s": Kind((8, 12, 100, 10), draws=5),
    "ICU, 48 h": ICU,
}


def settings(changes: tuple[tuple[str, object], ...]) -> ImputerConfig:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    flat = {}
    for key, value in project["tool"]["flwr"]["app"]["config"].items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return RunConfig.from_flat(flat | dict(changes)).imputer


def best(work: Callable[[], object], device: str) -> float:
    """Milliseconds of the best of three, after one to warm up."""
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:])


def yardstick(device: str) -> float:
    a = torch.randn(1024, 1024, device=device)
    return min(best(lambda: a @ a, device) for _ in range(5))


def peak_memory(device: str) -> float:
    """MB, of this process or on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def works(kind: Kind, threads: int, device: str, half: bool = False) -> dict[str, Callable[[], object]]:
    """What is measured, each for a batch; `half`: the network in bfloat16."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    count, modalities, patches, samples = kind.windows
    schema = Schema(
        dataset="generated",
        modalities=tuple(
            Schema.Modality(name=f"m{i}", unit="u", samples_per_patch=samples) for i in range(modalities)
        ),
        patch_seconds=1.0, patches=patches, labels=("no", "yes"), task="single-label",
    )  # fmt: skip
    config = settings(kind.settings)
    imputer = Imputer(schema, config).to(device)
    optimiser = torch.optim.AdamW(imputer.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(kind.windows, device=device)
    seen = torch.rand(kind.windows, device=device) < 0.5
    prepared = imputer.prepare(values, seen, ~seen)
    crop = prepared.select(slice(None), slice(config.crop or patches))
    network = torch.autocast(device, torch.bfloat16, enabled=half)

    def step() -> None:
        with network:
            loss = imputer.loss(crop, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(imputer.parameters(), 1.0)
        optimiser.step()

    def complete(draws: int) -> None:
        given = imputer.prepare(values, seen)
        with network:
            mean, drawn = imputer.sample(given, draws, generator)
        imputer.standardiser.inverse(median_over_draws(drawn) if draws else mean)

    return {
        "estimate": lambda: imputer.prepare(values, seen, ~seen),
        "training step": step,
        "completed, point": lambda: complete(0),
        f"median of {kind.draws}": lambda: complete(kind.draws),
    }


def measure(kind: Kind, threads: int, device: str, half: bool) -> dict[str, float]:
    """Milliseconds of all works and of the yardstick, and memory."""
    todo = works(kind, threads, device, half)
    found = {"yardstick": yardstick(device)} | {what: best(work, device) for what, work in todo.items()}
    found["step with its estimate"] = found["training step"] + found["estimate"] / EPOCHS_PER_PREPARATION
    return found | {"memory, MB": peak_memory(device)}


def median_of_stays(threads: int) -> float:
    """Seconds a stay."""
    work = works(ICU, threads, "cpu")[f"median of {ICU.draws}"]
    return best(work, "cpu") / 1000 / ICU.windows[0]


def many_stays(threads: int) -> dict[str, float]:
    """Seconds for the medians of STAYS stays, from the time for a batch of them."""
    found = {}
    for name, processes, each in (
        ("one process", 1, threads),
        ("two processes", 2, threads),
        ("one process, twice the threads", 1, 2 * threads),
    ):
        with pool(processes) as workers:
            seconds = list(workers.map(median_of_stays, [each] * processes))
        found[name] = STAYS / sum(1 / s for s in seconds)
    return found


def pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--windows", type=int, help="at once, in place of 32 (8 of 10 s)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("Error: torch sees no GPU here: leave --device out")
    out: dict[str, object] = {"threads": options.threads, "device": options.device}
    for half in (False, True) if options.device == "cuda" else (False,):
        for name, kind in KINDS.items():
            if options.windows:
                kind = replace(kind, windows=(options.windows, *kind.windows[1:]))
            with pool(1) as worker:
                found = worker.submit(measure, kind, options.threads, options.device, half).result()
            name += ", bfloat16" if half else ""
            out[name] = {what: round(value, 3) for what, value in found.items()}
            unit, memory = found.pop("yardstick"), found.pop("memory, MB")
            print(f"\n{name}: {' × '.join(map(str, kind.windows))}, at most {memory:.0f} MB")
            print(f"{'':<24}{'ms':>10}{'yardsticks':>12}{'windows/s':>12}\n{'yardstick':<24}{unit:>10.2f}")
            for what, ms in found.items():
                print(f"{what:<24}{ms:>10.1f}{ms / unit:>12.1f}{1000 * kind.windows[0] / ms:>12.1f}")
    if options.device == "cpu":
        found = many_stays(options.threads)
        print(f"\nmedian of {ICU.draws} for {STAYS} ICU stays, from the time for {ICU.windows[0]}")
        for what, value in found.items():
            print(f"{what:<32}{value:>8.1f} s{STAYS / value:>10.1f} stays/s")
        out[f"seconds for {STAYS} stays"] = {what: round(value, 2) for what, value in found.items()}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
