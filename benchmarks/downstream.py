"""What imputation is worth downstream: z-scored ECGs of which most points are missing, in training and test.

    python benchmarks/downstream.py --signals zscored100_part.npz --tables PTBXL_FOLDER [--seeds 3]

`--signals` holds `ecg_id` (record,), `x_milli` int16 (record, 1000 samples at 100 Hz, 12 leads) and `lead`;
`--tables` ptbxl_database.csv and scp_statements.csv. Both methods of a run see the same holes and train the
same classifier with the mask among its inputs: one on completed windows, one on windows filled with zeros.
Prints macro-AUROC on the test fold over seeds, and the difference with its interval by paired bootstrap over
test records, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from paired import difference, macro_auroc, predictions
from runs import call
from zscored import write_source

from condi_core.methods import METHODS

SETTINGS = (
    "missingness.points=0.8 missingness.gaps=0.0 missingness.modality-by-window=0.0 imputer.relation-rounds=8 imputer.rounds=4 "
    "imputer.steps=20 imputer.samples=0 task.rounds=12 task.steps=40 task.batch=32"
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
        call("prepare", "ptb-xl", "--source", root / "source", "--out", federation,
              "--sites", 4, "--split", "iid", "--seed", 0)  # fmt: skip
        for seed in range(options.seeds):
            call("run", "--federation", federation, "--out", root, "--name", f"run-{seed}",
                  "--nodes", options.nodes, "-c", f"{options.run_config} seed={seed}")  # fmt: skip
            for method, kept in scores.items():
                _, found, labels = predictions(root / f"run-{seed}", method)
                kept.append(found)

    gain, low, high = difference(scores["condi"], scores["mask"], labels)
    out = {m: [macro_auroc(s, labels) for s in kept] for m, kept in scores.items()}
    print(f"\nmacro-AUROC on {len(labels)} test records, {options.seeds} seeds")
    for method, found in out.items():
        print(f"{method:<6} {METHODS[method].summary:<36} {np.mean(found):.4f} ± {np.std(found, ddof=1):.4f}")
    print(f"difference {gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} (paired bootstrap)")
    print(json.dumps({**out, "difference": gain, "interval": [low, high]}))


if __name__ == "__main__":
    main()
