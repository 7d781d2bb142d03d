"""Run both phases on PTB-XL over seeds: imputation compared with naive baselines, and classification.

    python benchmarks/ptb_xl.py --source PTBXL_FOLDER [--seeds 3]

Prints a table and one JSON line. The test windows and the missingness that imputation is scored on are the
same for all seeds; the partition into sites, the run's missingness, initial weights and training vary.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from runs import run_condi

from condi_core.run_files import read_result

SETTINGS = (
    "imputer.rounds=6 imputer.steps=40 imputer.relation-rounds=4 imputer.samples=10 "
    "task.rounds=8 task.steps=30 task.batch=32"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of PTB-XL")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run-config", default=SETTINGS)
    options = parser.parse_args()
    results, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            federation = Path(folder) / f"federation-{seed}"
            run_condi("prepare", "ptb-xl", "--source", options.source, "--out", federation, "--sites", 4,
                  "--split", "iid", "--seed", seed)  # fmt: skip
            start = time.monotonic()
            run_condi("run", "--federation", federation, "--out", folder, "--name", f"run-{seed}",
                  "-c", f"{options.run_config} seed={seed}")  # fmt: skip
            seconds.append(time.monotonic() - start)
            results.append(read_result(Path(folder) / f"run-{seed}"))
    out: dict[str, object] = {"seconds": round(float(np.mean(seconds)), 1)}
    print(f"\nmean ± standard deviation over {options.seeds} seeds, {np.mean(seconds):.0f} s a run")
    for pattern in results[0]["imputation"]:
        for method in ("mean", "estimate", "condi", "condi, draws"):
            scores = [r["imputation"][pattern] for r in results]
            ratio = [s[method]["rmse"] / s["linear"]["rmse"] for s in scores]
            rmse = [s[method]["rmse"] for s in scores]
            out[f"{pattern}/{method}"] = [
                round(float(np.mean(ratio)), 4),
                round(float(np.std(ratio, ddof=1)), 4),
            ]
            print(
                f"{pattern:<14} {method:<13} RMSE {np.mean(rmse):.3f} ± {np.std(rmse, ddof=1):.3f}   "
                f"over linear {np.mean(ratio):.3f} ± {np.std(ratio, ddof=1):.3f}"
            )
    for method in results[0]["task"]:
        for metric in ("auroc", "f1"):
            scores = [r["task"][method][metric] for r in results]
            out[f"{method}/{metric}"] = [
                round(float(np.mean(scores)), 4),
                round(float(np.std(scores, ddof=1)), 4),
            ]
            print(f"{method:<28} {metric:<13} {np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
