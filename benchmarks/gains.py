"""Compare the imputer that all sites train together with those that each site trains on its own data.

    python benchmarks/gains.py --federation FOLDER [FOLDER ...] [--seeds 3] [--run-config SETTINGS]

Each seed is a run of `condi run` with the method `local`. Both imputers complete the same test windows of a
site, under the same masks. Prints for each site and missingness pattern the ratio of the error after training
together to that after training alone (below 1: better together), the mean over seeds with the sample standard
deviation, then the largest ratios, and one JSON line. There is a table of RMSE and one of MAE, in which
single records with large errors count less. Sites without test windows are left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from imputation import mean_and_deviation
from runs import run_condi

from server_app.artifacts.run_estimates import ALL_PATTERNS, imputation_estimates
from server_app.artifacts.run_record import read_run

METRICS = ("rmse", "mae")

Ratios = dict[str, dict[str, dict[str, float]]]
"""`{metric: {site: {pattern: error together / error alone}}}`."""


def run_together_and_alone(federation: Path, settings: str, folder: Path) -> tuple[Ratios, dict[str, int]]:
    """Run a federation with `local`; return the ratios, and the training windows of each site."""
    run_condi("run", "--federation", federation, "--out", folder, "--name", "run",
         "-c", f"compare-with='local' {settings}")  # fmt: skip
    run = read_run(folder / "run")
    ratios: Ratios = {metric: {} for metric in METRICS}
    for site in run.sites:
        if not run.sites[site].manifest.windows["test"]:
            continue
        together, alone = (imputation_estimates(run, scope, [site]) for scope in ("federated", "local"))
        for metric in METRICS:
            ratios[metric][site] = {
                pattern: together[pattern]["condi"][metric].value / alone[pattern]["condi"][metric].value
                for pattern in together
                if pattern != ALL_PATTERNS
            }
    return ratios, {site: info.manifest.windows["train"] for site, info in run.sites.items()}


def print_ratios(metric: str, runs: list[dict[str, dict[str, float]]], windows: dict[str, int]) -> None:
    """Print a row for each site, and the largest ratio of each pattern."""
    patterns = list(next(iter(runs[0].values())))
    width = max(map(len, [*runs[0], "largest"])) + 2
    print(
        f"\n{metric.upper():<{width}}{'training windows':>18}"
        + "".join(f"{pattern:>22}" for pattern in patterns)
    )
    means: dict[str, list[float]] = {pattern: [] for pattern in patterns}
    for site in runs[0]:
        cells = [[run[site][pattern] for run in runs] for pattern in patterns]
        for pattern, values in zip(patterns, cells, strict=True):
            means[pattern].append(float(np.mean(values)))
        row = "".join(f"{mean_and_deviation(values):>22}" for values in cells)
        print(f"{site:<{width}}{windows[site]:>18}{row}")
    print(f"{'largest':<{width + 18}}" + "".join(f"{max(values):>22.3f}" for values in means.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--federation", type=Path, nargs="+", required=True, help="prepared federations")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run-config", default="", help="settings of the runs")
    options = parser.parse_args()
    for federation in options.federation:
        runs: list[Ratios] = []
        windows: dict[str, int] = {}
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                settings = f"{options.run_config} seed={seed}"
                ratios, windows = run_together_and_alone(federation, settings, Path(folder))
            runs.append(ratios)
            print(f"{federation.name}, seed {seed}: {json.dumps(ratios)}", flush=True)
        for metric in METRICS:
            print_ratios(metric, [run[metric] for run in runs], windows)
        print(json.dumps({"federation": federation.name, "windows": windows, "ratios": runs}))


if __name__ == "__main__":
    main()
