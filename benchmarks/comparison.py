"""Compare all methods with CondI on real data; the documented result tables come from here.

    python benchmarks/comparison.py --ptb-xl FOLDER [--signals NPZ] [--physionet-2012 FOLDER] --out DIR
    python benchmarks/comparison.py ... --study benchmarks/matched.toml

Runs `comparison.toml`, or another study without a data set, with `condi study` on up to three data sets: the
raw records of PTB-XL, z-scored ones from an npz file with PTB-XL's tables (`zscored.py`), and PhysioNet 2012
by ICU type. Each has a folder in DIR, with the tables in DIR/NAME/table.txt. After an interruption the same
command resumes the studies. After the tables of a data set it prints for each column whether CondI is first
or tied, and by how many points of AUROC it is ahead of the best method without imputation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from runs import run_condi
from zscored import write_source

from condi_core.methods import METHODS
from data_partitions.storage import atomic_directory
from server_app.artifacts.estimates import Estimate
from server_app.study.ranking import rank_marks
from server_app.study.statistics import mean_sd

STUDY = Path(__file__).with_name("comparison.toml")
PARTITIONS = {"ptb-xl": 'split = "iid"\nsites = 4', "physionet-2012": 'split = "natural"'}


IMPUTE_INSIDE = {"pamf"}  # which complete windows in their task model
METRIC = "auroc"


def run_study(study: Path, name: str, dataset: str, source: Path, out: Path) -> None:
    """Run the study on the data set in `source`, and print its tables."""
    study_file = out / f"{name}.toml"
    data = f'[data.{name}]\ndataset = "{dataset}"\n\n[[partition]]\n{PARTITIONS[dataset]}\n'
    study_file.write_text(f"{study.read_text()}\n{data}")
    run_condi(
        "study", study_file, "--out", out / name, "--source", f"{name}={source.resolve()}", "--nodes", 2
    )
    print((out / name / "table.txt").read_text())
    print(standing(pd.read_csv(out / name / "cells.csv")).to_string())


def standing(cells: pd.DataFrame) -> pd.DataFrame:
    """Compare CondI with the others, for each missingness of training and test.

    Returns
    -------
    DataFrame with the mean of CondI, its place ("best", "tie" or "behind"), the best method without
    imputation, and the points by which CondI is ahead of that.
    """
    rows = {}
    for pattern, group in cells.groupby(["missingness", "missingness-in-test"], sort=False):
        scores = {name: mean_sd(list(of)) for name, of in group.groupby("method", sort=False)[METRIC]}
        by_seed = [
            {seed: Estimate(value) for seed, value in zip(of["seed"], of[METRIC], strict=True)}
            for _, of in group.groupby("method", sort=False)
        ]
        marks = dict(zip(scores, rank_marks(by_seed), strict=True))
        without = [m for m in scores if not METHODS[m].complete and not METHODS[m].interpolate]
        best = max(set(without) - IMPUTE_INSIDE, key=lambda name: scores[name][0])
        rows[" -> ".join(pattern)] = {
            "condi": round(scores["condi"][0], 4),
            "place": marks["condi"] or "behind",
            "best without imputation": best,
            "points ahead": round(100 * (scores["condi"][0] - scores[best][0]), 1),
        }
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ptb-xl", type=Path, required=True, help="folder of the unpacked data set")
    parser.add_argument("--signals", type=Path, help="npz of z-scored records")
    parser.add_argument("--physionet-2012", type=Path)
    parser.add_argument("--study", type=Path, default=STUDY, help="methods, missingness, seeds and settings")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.signals:
        zscored = options.out / "zscored-source"
        if not zscored.exists():
            with atomic_directory(zscored) as folder:
                write_source(options.signals, options.ptb_xl, folder)
        run_study(options.study, "z-scored", "ptb-xl", zscored, options.out)
    run_study(options.study, "raw", "ptb-xl", options.ptb_xl, options.out)
    if options.physionet_2012:
        run_study(options.study, "icu", "physionet-2012", options.physionet_2012, options.out)


if __name__ == "__main__":
    main()
