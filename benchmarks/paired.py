"""Estimate the confidence interval of the difference between two methods of the same runs.

    python benchmarks/paired.py RUN [RUN ...] --other mifl [--method condi]

The runs have one data set and one missingness, and differ in their seeds, such as those of a study
(DIR/NAME/runs/...; the column `run` of its cells.csv has their names). Prints the difference in macro-AUROC
as the mean over runs, with its 95 % confidence interval by paired bootstrap over test records.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from client_app.node import completions
from client_app.node.site import Site
from client_app.node.task_phase import TaskWindows
from condi_core import load_model
from condi_core.run_files import read_config
from condi_core.task.kind import MULTI_LABEL
from condi_core.windows import iterate_blocks
from data_partitions.federation import open_federation

RESAMPLES = 2000


@torch.no_grad()
def predictions(run: Path, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sorted ids of all test records, and their probabilities and labels `(record, label)`."""
    config = read_config(run)
    federation, classifiers = open_federation(config.federation), load_model(run).classifiers
    if method not in classifiers:
        raise SystemExit(
            f"{run} has no model of {method} for all sites: choose from {', '.join(classifiers)}"
        )
    spec, model, imputer, _ = classifiers[method]
    ids, probabilities, labels = [], [], []
    with tempfile.TemporaryDirectory() as cache:
        for name in federation.sites:
            site = Site(name, federation.open_site(name, False), config, torch.device("cpu"), Path(cache))
            if spec.complete:
                completions.complete(site, spec, imputer, "", ["test"])
            windows = TaskWindows(site, spec, "", "test", model.standardiser)
            for rows in iterate_blocks(windows.rows):
                draws = [model(*windows.read(rows, draw)[:3]) for draw in range(windows.draws)]
                ids.append(site.partition.record_ids[rows])
                probabilities.append(torch.stack([model.predictions(out) for out in draws]).mean(0).numpy())
                labels.append(site.partition.labels[rows] > 0.5)
    order = np.argsort(np.concatenate(ids))
    return tuple(np.concatenate(part)[order] for part in (ids, probabilities, labels))


def macro_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the macro-AUROC of probabilities and labels `(record, label)`."""
    sums = MULTI_LABEL.sums(torch.from_numpy(scores), torch.from_numpy(labels))
    return MULTI_LABEL.metrics(sums)["auroc"]


def difference(
    first: list[np.ndarray], second: list[np.ndarray], labels: np.ndarray
) -> tuple[float, float, float]:
    """Return the mean over runs of the difference in macro-AUROC, and the ends of its confidence interval."""

    def gain(rows: np.ndarray) -> float:
        pairs = zip(first, second, strict=True)
        return float(
            np.mean(
                [macro_auroc(a[rows], labels[rows]) - macro_auroc(b[rows], labels[rows]) for a, b in pairs]
            )
        )

    rng, all_rows = np.random.default_rng(0), np.arange(len(labels))
    low, high = np.quantile(
        [gain(rng.choice(all_rows, len(all_rows))) for _ in range(RESAMPLES)], (0.025, 0.975)
    )
    return gain(all_rows), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--method", default="condi")
    parser.add_argument("--other", required=True)
    options = parser.parse_args()
    first, second = ([predictions(run, m) for run in options.runs] for m in (options.method, options.other))
    ids, _, labels = first[0]
    if not all(np.array_equal(ids, result[0]) for result in [*first, *second]):
        parser.error("the runs have different test records: name runs of one data set and one split")
    gain, low, high = difference([p for _, p, _ in first], [p for _, p, _ in second], labels)
    print(f"{options.method} minus {options.other}: {gain:+.4f}, "
          f"95 % confidence interval {low:+.4f} to {high:+.4f} "
          f"({len(ids)} test records, {len(options.runs)} runs)")  # fmt: skip


if __name__ == "__main__":
    main()
