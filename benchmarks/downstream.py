"""Measure what imputation gains downstream: z-scored ECGs with most samples missing, in training and test.

    python benchmarks/downstream.py --signals zscored100_part.npz --tables PTBXL_FOLDER [--seeds 3]

`--signals` holds `ecg_id` (record,), `x_milli` int16 (record, 1000 samples at 100 Hz, 12 leads) and `lead`;
`--tables` holds ptbxl_database.csv and scp_statements.csv. Both methods of a run have the same missingness
and train the same classifier with the mask among its inputs: one on completed windows, one on windows filled
with zeros. Prints macro-AUROC on the test fold over seeds, the difference with its confidence interval by
paired bootstrap over test records, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from paired import difference, macro_auroc, predictions
from runs import run_condi
from zscored import write_source

from condi_core.methods import METHODS

SETTINGS = (
    "missingness.points=0.8 missingness.gaps=0.0 missingness.modality-by-window=0.0 "
    "imputer.relation-rounds=8 imputer.rounds=4 imputer.steps=20 imputer.samples=0 task.rounds=12 "
    "task.steps=40 task.batch=32"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=Path, required=True)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run-config", default=SETTINGS)
    parser.add_argument("--nodes", type=int, default=2)
    options = parser.parse_args()
    scores: dict[str, list[np.ndarray]] = {"condi": [], "mask": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "source").mkdir()
        write_source(options.signals, options.tables, root / "source")
        federation = root / "federation"
        run_condi("prepare", "ptb-xl", "--source", root / "source", "--out", federation,
              "--sites", 4, "--split", "iid", "--seed", 0)  # fmt: skip
        for seed in range(options.seeds):
            run_condi("run", "--federation", federation, "--out", root, "--name", f"run-{seed}",
                  "--nodes", options.nodes, "-c", f"{options.run_config} seed={seed}")  # fmt: skip
            for method, by_seed in scores.items():
                _, probabilities, labels = predictions(root / f"run-{seed}", method)
                by_seed.append(probabilities)

    gain, low, high = difference(scores["condi"], scores["mask"], labels)
    out = {m: [macro_auroc(s, labels) for s in by_seed] for m, by_seed in scores.items()}
    print(f"\nmacro-AUROC on {len(labels)} test records, {options.seeds} seeds")
    for method, aurocs in out.items():
        print(
            f"{method:<6} {METHODS[method].summary:<36} {np.mean(aurocs):.4f} ± {np.std(aurocs, ddof=1):.4f}"
        )
    print(f"difference {gain:+.4f}, 95 % confidence interval {low:+.4f} to {high:+.4f} (paired bootstrap)")
    print(json.dumps({**out, "difference": gain, "interval": [low, high]}))


if __name__ == "__main__":
    main()
