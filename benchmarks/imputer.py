"""Measure what the imputer costs: estimate, training step, completed windows, memory.

    python benchmarks/imputer.py [--threads 1] [--device cuda] [--windows 128] [--peers]

The windows are generated, of three kinds. Half of the samples of an ECG are observed, and a fifth of those of
an ICU stay, as in PhysioNet 2012. Settings are pyproject's, and each kind runs in a separate process.
Milliseconds are the best of three runs; they are also given as a multiple of a yardstick measured in the same
process, a matrix product of 1024 × 1024 float32, so that machines can be compared. A training step is loss,
gradient and AdamW on a crop; its estimate, of the whole window, serves EPOCHS_PER_PREPARATION steps.
Completion includes its estimate. Memory is the peak of the process with Python and torch, or on a GPU what
torch allocated there. On a GPU the network is measured in bfloat16 as well; the estimate stays in float32.
With --peers, SAITS and CSDI (see `peers.py`; they need '.[bench]') complete the same windows, untrained.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context

import torch
from torch import nn

from condi_core.config import ImputerConfig, RunConfig
from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.imputer.local_training import EPOCHS_PER_PREPARATION
from condi_core.windows import Schema
from server_app.operations.run_config import default_settings

ICU_TOKEN_PATCHES = 8  # of one hour each
NUM_STAYS = 800
CSDI_WINDOWS = 2  # that it is measured on: it takes seconds for each


@dataclass(frozen=True)
class WindowKind:
    """Windows of one shape.

    Attributes
    ----------
    windows : (window, modality, patch, sample)
    draws : of which the median is taken
    settings : that differ from pyproject's
    observed : fraction of the samples
    """

    windows: tuple[int, int, int, int]
    draws: int
    settings: tuple[tuple[str, object], ...] = ()
    observed: float = 0.5


ICU = WindowKind(
    (32, 37, 48, 1), draws=10, observed=0.2, settings=(("imputer.token-patches", ICU_TOKEN_PATCHES),)
)
KINDS = {
    "ECG, 2.5 s": WindowKind((32, 12, 25, 10), draws=5),
    "ECG, 10 s": WindowKind((8, 12, 100, 10), draws=5),
    "ICU, 48 h": ICU,
}


def imputer_config(changes: tuple[tuple[str, object], ...]) -> ImputerConfig:
    """Return pyproject's settings of phase 1 with some changes."""
    return RunConfig.from_flat(default_settings() | dict(changes)).imputer


def best_milliseconds(work: Callable[[], object], device: str) -> float:
    """Return the best of three runs, after one to warm up."""
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:])


def measure_yardstick(device: str) -> float:
    """Return the milliseconds of a matrix product of 1024 × 1024."""
    a = torch.randn(1024, 1024, device=device)
    return min(best_milliseconds(lambda: a @ a, device) for _ in range(5))


def peak_memory(device: str) -> float:
    """Return the peak memory in MB, of this process or on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def make_schema(kind: WindowKind) -> Schema:
    """Return the schema of generated windows."""
    _, modalities, patches, samples = kind.windows
    return Schema(
        dataset="generated",
        modalities=tuple(
            Schema.Modality(name=f"m{i}", unit="u", samples_per_patch=samples) for i in range(modalities)
        ),
        patch_seconds=1.0,
        patches=patches,
        labels=("no", "yes"),
        task="single-label",
    )


def generate_windows(kind: WindowKind, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and what of them is observed."""
    values = torch.randn(kind.windows, device=device)
    return values, torch.rand(kind.windows, device=device) < kind.observed


def make_tasks(
    kind: WindowKind, threads: int, device: str, half: bool = False
) -> dict[str, Callable[[], object]]:
    """Return what is measured, each for a batch; with `half` the network runs in bfloat16."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = imputer_config(kind.settings)
    imputer = DiffusionImputer(make_schema(kind), config).to(device)
    optimizer = torch.optim.AdamW(imputer.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(0)
    values, conditioning = generate_windows(kind, device)
    prepared = imputer.prepare(values, conditioning, ~conditioning)
    crop = prepared.select(slice(None), slice(config.crop or kind.windows[2]))
    precision = torch.autocast(device, torch.bfloat16, enabled=half)

    def train_step() -> None:
        with precision:
            loss = imputer.loss(crop, generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(imputer.parameters(), 1.0)
        optimizer.step()

    def complete(num_draws: int) -> None:
        batch = imputer.prepare(values, conditioning)
        with precision:
            mean, draws = imputer.sample(batch, num_draws, generator)
        imputer.standardiser.inverse(median_over_draws(draws) if num_draws else mean)

    return {
        "estimate": lambda: imputer.prepare(values, conditioning, ~conditioning),
        "training step": train_step,
        "completed, point": lambda: complete(0),
        f"median of {kind.draws}": lambda: complete(kind.draws),
    }


def measure(kind: WindowKind, threads: int, device: str, half: bool, peers: bool) -> dict[str, float]:
    """Return the milliseconds of all tasks and of the yardstick, and the memory without that of peers."""
    tasks = make_tasks(kind, threads, device, half)
    results = {"yardstick": measure_yardstick(device)}
    results |= {name: best_milliseconds(task, device) for name, task in tasks.items()}
    estimate_per_step = results["estimate"] / EPOCHS_PER_PREPARATION
    results["step with its estimate"] = results["training step"] + estimate_per_step
    results["memory, MB"] = peak_memory(device)
    return results | (measure_peers(kind) if peers else {})


def measure_peers(kind: WindowKind) -> dict[str, float]:
    """Return the milliseconds in which SAITS and CSDI complete a batch; those of CSDI are of a part of it."""
    from peers import Csdi, Saits

    schema = make_schema(kind)
    standardiser = DiffusionImputer(schema, imputer_config(kind.settings)).standardiser
    values, conditioning = generate_windows(kind, "cpu")
    saits, csdi = Saits(schema, standardiser, 0), Csdi(schema, standardiser, kind.draws)
    start = time.perf_counter()
    csdi(values[:CSDI_WINDOWS], conditioning[:CSDI_WINDOWS])
    windows, _, patches, samples = kind.windows
    pieces = windows / CSDI_WINDOWS * patches * samples / csdi.steps  # one of each window was completed
    seconds_of_csdi = (time.perf_counter() - start) * pieces
    return {
        "SAITS, point": best_milliseconds(lambda: saits(values, conditioning), "cpu"),
        f"CSDI, median of {kind.draws}": 1000 * seconds_of_csdi,
    }


def seconds_per_stay(threads: int) -> float:
    """Return the seconds that the median of an ICU stay takes."""
    task = make_tasks(ICU, threads, "cpu")[f"median of {ICU.draws}"]
    return best_milliseconds(task, "cpu") / 1000 / ICU.windows[0]


def seconds_for_many_stays(threads: int) -> dict[str, float]:
    """Return the seconds for the medians of NUM_STAYS stays, extrapolated from one batch."""
    results = {}
    for name, processes, threads_each in (
        ("one process", 1, threads),
        ("two processes", 2, threads),
        ("one process, twice the threads", 1, 2 * threads),
    ):
        with make_pool(processes) as workers:
            seconds = list(workers.map(seconds_per_stay, [threads_each] * processes))
        results[name] = NUM_STAYS / sum(1 / s for s in seconds)
    return results


def make_pool(processes: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--windows", type=int, help="windows in a batch instead of 32 (8 of 10 s)")
    parser.add_argument("--peers", action="store_true", help="measure SAITS and CSDI as well, on the CPU")
    options = parser.parse_args()
    if options.peers and (options.device == "cuda" or not find_spec("pypots")):
        sys.exit("Error: --peers needs PyPOTS (pip install -e '.[bench]') and the CPU")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("Error: torch finds no GPU here: run without --device cuda")
    out: dict[str, object] = {"threads": options.threads, "device": options.device}
    for half in (False, True) if options.device == "cuda" else (False,):
        for name, kind in KINDS.items():
            if options.windows:
                kind = replace(kind, windows=(options.windows, *kind.windows[1:]))
            with make_pool(1) as worker:
                results = worker.submit(
                    measure, kind, options.threads, options.device, half, options.peers
                ).result()
            name += ", bfloat16" if half else ""
            out[name] = {what: round(value, 3) for what, value in results.items()}
            unit, memory = results.pop("yardstick"), results.pop("memory, MB")
            print(f"\n{name}: {' × '.join(map(str, kind.windows))}, peak memory {memory:.0f} MB")
            print(f"{'':<24}{'ms':>10}{'yardsticks':>12}{'windows/s':>12}\n{'yardstick':<24}{unit:>10.2f}")
            for what, ms in results.items():
                print(f"{what:<24}{ms:>10.1f}{ms / unit:>12.1f}{1000 * kind.windows[0] / ms:>12.1f}")
    if options.device == "cpu":
        seconds = seconds_for_many_stays(options.threads)
        print(f"\nmedian of {ICU.draws} for {NUM_STAYS} ICU stays, extrapolated from {ICU.windows[0]}")
        for what, value in seconds.items():
            print(f"{what:<32}{value:>8.1f} s{NUM_STAYS / value:>10.1f} stays/s")
        out[f"seconds for {NUM_STAYS} stays"] = {what: round(value, 2) for what, value in seconds.items()}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
