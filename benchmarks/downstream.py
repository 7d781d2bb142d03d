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
import platformdirs
import torch
from runs import call
from safetensors import safe_open
from zscored import write_source

from client_app.classifying import TaskWindows
from client_app.imputing import blocks
from client_app.site import Site
from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.metrics import task_metrics, task_sums
from condi_core.windows import Schema
from data_partitions.federation import open_federation
from data_partitions.partition import Partition

SETTINGS = (
    "holes.points=0.8 holes.gaps=0.0 holes.modality-by-window=0.0 imputer.relation-rounds=8 imputer.rounds=4 "
    "imputer.steps=20 imputer.samples=0 task.rounds=12 task.steps=40 task.batch=32"
)
RESAMPLES = 2000


@torch.no_grad()
def predictions(federation: Path, run: Path, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels `(record, label)` of all test windows."""
    config = RunConfig.from_flat(json.loads((run / "config.json").read_text()))
    cache = platformdirs.user_cache_path("condi") / "completed"  # where sites of a simulation keep them
    with safe_open(run / f"task-{method}.safetensors", "pt") as file:
        told = file.metadata()
        model = METHODS[method].model(Schema.model_validate_json(told["schema"]), config.task)
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    found, labels = [], []
    for name in open_federation(federation).sites:
        partition = Partition.open(federation / name, check=False)
        site = Site(name, partition, config, torch.device("cpu"), cache)
        windows = TaskWindows(site, METHODS[method], told["imputer"], "test", model.standardiser)
        for rows in blocks(windows.rows):
            *inputs, y = windows.read(rows)
            found.append(model.eval().probabilities(model(*inputs)).numpy())
            labels.append(y.numpy())
    return np.concatenate(found), np.concatenate(labels) > 0.5


def macro_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    sums = task_sums(torch.from_numpy(scores), torch.from_numpy(labels), single_label=False)
    return task_metrics(sums, single_label=False)["auroc"]


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
        # The partition into sites is the same for all seeds, so that test records stay in one order.
        federation = root / "federation"
        call("prepare", "ptb-xl", "--source", root / "source", "--out", federation,
              "--sites", 4, "--split", "iid", "--seed", 0)  # fmt: skip
        for seed in range(options.seeds):
            call("run", "--federation", federation, "--out", root, "--name", f"run-{seed}",
                  "--nodes", options.nodes, "-c", f"{options.run_config} seed={seed}")  # fmt: skip
            for method, kept in scores.items():
                found, labels = predictions(federation, root / f"run-{seed}", method)
                kept.append(found)

    def gain(rows: np.ndarray) -> float:
        """Mean over seeds of the difference in macro-AUROC on these test records."""
        pairs = zip(scores["condi"], scores["mask"], strict=True)
        return float(np.mean([macro_auroc(a[rows], labels[rows]) - macro_auroc(b[rows], labels[rows])
                              for a, b in pairs]))  # fmt: skip

    rng, every = np.random.default_rng(0), np.arange(len(labels))
    resampled = [gain(rng.choice(every, len(every))) for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    out = {m: [macro_auroc(s, labels) for s in kept] for m, kept in scores.items()}
    print(f"\nmacro-AUROC on {len(labels)} test records, {options.seeds} seeds")
    for method, found in out.items():
        print(f"{method:<6} {METHODS[method].summary:<36} {np.mean(found):.4f} ± {np.std(found, ddof=1):.4f}")
    print(f"difference {gain(every):+.4f}, 95 % interval {low:+.4f} to {high:+.4f} (paired bootstrap)")
    print(json.dumps({**out, "difference": gain(every), "interval": [low, high]}))


if __name__ == "__main__":
    main()
