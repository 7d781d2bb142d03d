"""Measure how many windows a second a run's models complete and classify, and whether memory grows.

    python benchmarks/inference.py --model runs/demo [--records 10000] [--threads 2]

The windows are random, of the model's shape, with 30 % of the samples missing. The script prints a table and
one JSON line: windows a second for imputation (point; point and 10 draws) and prediction (from points; with
10 draws), each over --timed windows; then the resident memory while --records windows are completed block by
block, after the first tenth and at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from condi_core import load_model

WINDOWS_PER_CALL = 50


def random_windows(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """Generate random walks (window, modality, patch, sample), NaN where not observed."""
    steps = rng.standard_normal((count, shape[0], shape[1] * shape[2]), dtype=np.float32)
    x = steps.cumsum(-1) / 10
    x[rng.random(x.shape) < 0.3] = np.nan
    return x.reshape(count, *shape)


def resident_memory() -> float:
    """Return the resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def windows_per_second(work: Callable[[np.ndarray], object], x: np.ndarray) -> float:
    """Return the speed of `work` on `x`, after a short warm-up."""
    work(x[:4])
    start = time.perf_counter()
    work(x)
    return len(x) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=Path, help="folder of a run")
    parser.add_argument("--records", type=int, default=10000)
    parser.add_argument("--timed", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, rng = load_model(options.model), np.random.default_rng(0)
    x = random_windows(model.schema.shape, options.timed, rng)
    tasks = {
        "impute, point": lambda x: model.impute(x),
        "impute, 10 draws": lambda x: model.impute(x, samples=10),
        "predict": lambda x: model.predict(x),
        "predict, 10 draws": lambda x: model.predict(x, samples=10),
    }
    result: dict[str, float] = {}
    print(f"windows a second, {options.threads} threads, {model.schema.shape}")
    for name, task in tasks.items():
        result[name] = round(windows_per_second(task, x), 2)
        print(f"  {name:<20}{result[name]:>8.2f}", flush=True)
    completed, early = 0, 0.0
    while completed < options.records:
        count = min(WINDOWS_PER_CALL, options.records - completed)
        model.impute(random_windows(model.schema.shape, count, rng))
        completed += WINDOWS_PER_CALL
        if not early and completed >= options.records / 10:
            early = resident_memory()
    late = resident_memory()
    result |= {"records": options.records, "MB after a tenth": round(early), "MB at the end": round(late)}
    print(f"memory over {options.records} records: {early:.0f} MB after a tenth, {late:.0f} MB at the end")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
