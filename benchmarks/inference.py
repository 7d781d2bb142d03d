"""Records a second that a run's models complete and classify, and whether memory grows.

    python benchmarks/inference.py --model runs/demo [--records 10000] [--threads 2]

Random 10 s windows of the model's own shape, 30 % of samples missing. Prints a table and one JSON line:
windows a second for imputation (point; point and 10 draws) and prediction (from points; with 10 draws),
each over --timed windows, then resident memory while --records windows are completed one block after the
other, after the first tenth and at the end.
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

BLOCK = 50  # windows given at once


def windows(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random walks (window, modality, patch, sample), NaN where not observed."""
    steps = rng.standard_normal((count, shape[0], shape[1] * shape[2]), dtype=np.float32)
    x = steps.cumsum(-1) / 10
    x[rng.random(x.shape) < 0.3] = np.nan
    return x.reshape(count, *shape)


def resident() -> float:
    """Resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def rate(work: Callable[[np.ndarray], object], x: np.ndarray) -> float:
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
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, rng = load_model(given.model), np.random.default_rng(0)
    x = windows(model.schema.shape, given.timed, rng)
    works = {
        "impute, point": lambda x: model.impute(x),
        "impute, 10 draws": lambda x: model.impute(x, samples=10),
        "predict": lambda x: model.predict(x),
        "predict, 10 draws": lambda x: model.predict(x, samples=10),
    }
    result: dict[str, float] = {}
    print(f"windows a second, {given.threads} threads, {model.schema.shape}")
    for name, work in works.items():
        result[name] = round(rate(work, x), 2)
        print(f"  {name:<20}{result[name]:>8.2f}", flush=True)
    done, early = 0, 0.0
    while done < given.records:
        model.impute(windows(model.schema.shape, min(BLOCK, given.records - done), rng))
        done += BLOCK
        if not early and done >= given.records / 10:
            early = resident()
    result |= {"records": given.records, "MB after a tenth": round(early), "MB at the end": round(resident())}
    print(f"memory over {given.records} records: {early:.0f} MB after a tenth, {resident():.0f} at the end")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
