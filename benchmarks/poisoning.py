"""Measure what one malicious site does to the others under each rule of averaging.

    python benchmarks/poisoning.py --source PTBXL_FOLDER [--data NAME ...] [--attack NAME ...]
        [--rule NAME ...] [--max-window-ratio 2]

The last site of a federation attacks (`attacks.py`). RMSE and AUROC are of the test windows of the others,
RMSE over the three missingness patterns, in the standard deviations of a run without an attack. Federations
are the demo (four sites with 9 of 12 leads each), the demo with one site that is eight times as large as the
others, and PTB-XL (five iid sites with all leads), of which each site has at most 48 training windows of
1.6 s. Runs take place in this process, with small networks. Scores are means over seeds. `mean` is without
the limit of claimed windows. Attacks that are bounded under every rule are measured under the default.
Prints one JSON line per run, and a table per federation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from attacks import ATTACKS, BOUNDED_UNDER_EVERY_RULE, Attack
from flwr.app import Message

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.robust_averaging import RULES
from condi_core.run_files import weights_path
from condi_core.weights_file import load_imputer
from data_partitions.federation import open_federation, write_federation
from data_partitions.manifest import Split
from data_partitions.prepare import prepare_federation
from data_partitions.sources import ptb_xl
from data_partitions.sources.demo import prepare_demo
from server_app.app import coordinate
from server_app.artifacts.run_record import RunRecord, read_run
from server_app.artifacts.stored_sums import sum_over_sites
from server_app.errors import RunError
from tests.helpers.local_grid import LocalGrid
from tests.helpers.run_settings import flat_defaults

DATA = "demo", "demo-unequal", "ptb-xl"
SECURE = "secure"  # secure aggregation, with the plain mean: what it costs without an attack
DEFAULT_RULE = "norm-bound"
MAX_WINDOWS: dict[Split, int] = {"train": 48, "val": 10, "test": 48}  # of each site
UNEQUAL_WINDOWS = 96, 12  # for training, of the first site of "demo-unequal" and of each other site
PATCHES = 16
SETTINGS = {
    "compare-with": "", "imputer.samples": 0, "sites-timeout": 0.1,
    "imputer.relation-rounds": 2, "imputer.rounds": 2, "imputer.steps": 8, "imputer.crop": PATCHES,
    "imputer.width": 16, "imputer.heads": 2, "imputer.blocks": 1, "imputer.pair-width": 4,
    "task.rounds": 6, "task.steps": 8, "task.width": 16, "task.heads": 2, "task.blocks": 1,
    "task.pair-width": 4,
}  # fmt: skip


def write_short_windows(source: Path, out: Path, is_unequal: bool) -> None:
    """Write a federation with the first `PATCHES` patches of at most `MAX_WINDOWS` windows of each site."""
    federation, parts = open_federation(source), []
    for position, site in enumerate(federation.sites):
        most_windows = MAX_WINDOWS | ({"train": UNEQUAL_WINDOWS[position > 0]} if is_unequal else {})
        partition = federation.open_site(site)
        index = pd.read_csv(source / site / "windows.csv", dtype={"record_id": str, "patient_id": str})
        rows_of = {split: partition.rows(split)[:most] for split, most in most_windows.items()}
        rows, counts = np.concatenate(list(rows_of.values())), {s: len(r) for s, r in rows_of.items()}
        values, observed = partition.read(rows)
        windows = np.where(observed, values, np.nan)[:, :, :PATCHES]
        manifest = partition.manifest.model_copy(update={"patches": PATCHES, "windows": counts})
        parts.append((manifest, index.iloc[rows], list(windows)))
    info = federation.info
    write_federation(out, parts, dataset=info.dataset, split=info.split, seed=0, made_by="a benchmark")


def run(federation: Path, folder: Path, settings: dict, attack: Attack) -> RunRecord:
    """Run a federation in this process, whose last site attacks; RunError when the run ends early."""
    malicious = len(open_federation(federation).sites) - 1

    def tamper(request: Message, reply: Message) -> Message:
        if request.metadata.dst_node_id == 1000 + malicious and not reply.has_error():
            attack(request, reply)
        return reply

    settings = flat_defaults() | SETTINGS | {"federation": str(federation), "output": str(folder)} | settings
    node = {"num-partitions": malicious + 1, "device": "cpu", "cache": str(folder / "cache")}
    nodes = [node | {"partition-id": number} for number in range(malicious + 1)]
    with open("/dev/null", "w") as null, redirect_stdout(null):
        directory = coordinate(LocalGrid(client_app, nodes, settings, tamper), RunConfig.from_flat(settings))
    return read_run(directory.path)


def honest_scores(record: RunRecord, deviations: np.ndarray | None) -> tuple[dict[str, float], np.ndarray]:
    """Return the scores of all sites but the last, and the standard deviations of the run.

    `deviations` are those of a run without an attack, in which the errors are expressed.
    """
    honest = list(record.sites)[:-1]
    imputer, _ = load_imputer(weights_path(record.path, "imputer"))
    std = imputer.standardiser.std.numpy().astype(float)
    scale = (std / (std if deviations is None else deviations)) ** 2
    sums = sum_over_sites({site: record.sums["imputer"][site] for site in honest})
    scores = {}
    for row in ("estimate", "condi"):
        errors = sum(array for name, array in sums.items() if name.endswith(f"/{row}"))
        scores[f"rmse of {row}"] = float(np.sqrt((errors[:, 2] * scale).sum() / errors[:, 0].sum()))
    of_task = sum_over_sites({site: record.sums["task-condi"][site] for site in honest})
    return scores | {"auroc": record.task_metrics(of_task)["auroc"]}, std


def measure(federation: Path, name: str, options: argparse.Namespace) -> Iterator[dict]:
    """Run every attack under every rule; yield a result for each run."""
    deviations: dict[int, np.ndarray] = {}
    for attack in options.attack:
        for rule in (DEFAULT_RULE,) if attack in BOUNDED_UNDER_EVERY_RULE else options.rule:
            for seed in range(options.seeds if attack == "none" else options.attack_seeds):
                settings: dict[str, object] = {"averaging": rule, "seed": seed}
                settings["max-window-ratio"] = 1e12 if rule == "mean" else options.max_window_ratio
                if rule == SECURE:
                    settings |= {"averaging": "mean", "secure-aggregation": True}
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        record = run(federation, Path(folder), settings, ATTACKS[attack])
                        scores, std = honest_scores(record, deviations.get(seed))
                        deviations.setdefault(seed, std)
                        refused = sum(len(line.failures) for line in record.history)
                        result = {**scores, "refused": refused}
                    except RunError as error:
                        result = {"error": str(error)}
                yield {"data": name, "attack": attack, "rule": rule, "seed": seed, **result}


def table(results: list[dict], options: argparse.Namespace) -> str:
    """Return the results of a federation as a markdown table: RMSE and AUROC by attack and rule."""
    lines = [f"| attack | {' | '.join(options.rule)} |", "|---" * (len(options.rule) + 1) + "|"]
    for attack in options.attack:
        cells = []
        for rule in options.rule:
            runs = [r for r in results if (r["attack"], r["rule"]) == (attack, rule)]
            rmse, auroc = ([r.get(key, np.nan) for r in runs] for key in ("rmse of condi", "auroc"))
            refused = "*" if any(r.get("refused") for r in runs) else ""
            ended = any("error" in r for r in runs)
            scores = f"{np.mean(rmse):.3f} / {np.mean(auroc):.3f}{refused}" if runs else ""
            cells.append("the run ends" if ended else scores)
        lines.append(f"| {attack} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of PTB-XL")
    parser.add_argument("--seeds", type=int, default=3, help="of the runs without an attack")
    parser.add_argument("--attack-seeds", type=int, default=2)
    parser.add_argument("--data", nargs="+", choices=DATA, default=["demo", "ptb-xl"])
    parser.add_argument("--attack", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--max-window-ratio", type=float, default=flat_defaults()["max-window-ratio"])
    parser.add_argument("--rule", nargs="+", choices=(*RULES, SECURE), default=list(RULES))
    options = parser.parse_args()
    options.attack = list(dict.fromkeys(["none", *options.attack]))  # errors are in its standard deviations
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in options.data:
            if name == "ptb-xl":
                prepare_federation(ptb_xl, options.source, root / name, sites=5, split="iid")
            else:
                prepare_demo(root / name)
            write_short_windows(root / name, root / f"{name}-short", name == "demo-unequal")
            results = []
            for result in measure(root / f"{name}-short", name, options):
                print(json.dumps(result), flush=True)
                results.append(result)
            print(f"\n{name}: RMSE / AUROC of honest sites; * where replies were refused\n")
            print(f"{table(results, options)}\n", flush=True)


if __name__ == "__main__":
    main()
