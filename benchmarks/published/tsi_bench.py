"""P2, PhysioNet 2012 of TSI-Bench (Du et al. 2024), with the preprocessing of its library BenchPOTS.

Set A without the three stays that have no series, the 35 variables of CSDI, means of the hours, split 64 / 16
/ 20 % by the outcome, standardised by the training part. A tenth of the measured points of validation and
test is hidden. The authors' script seeds it with 2024; draw k has the seed 2024 + k, since libraries have
changed since. With other cells only ratios to simple methods compare.
"""

from __future__ import annotations

import tarfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from published.outcome import DataMissingError, Outcome, require_files
from published.stay_imputers import add_imputer_options, score_imputers
from published.stays import LINEAR, VARIABLES, Stays

AUTHORS_SEED = 2024
PUBLISHED = (
    "published MAE / MSE: CSDI .252 / .313, SAITS .257 / .276, BRITS .297 / .338, linear .366 / .425, "
    "last value .449, mean .708; MAE by linear: CSDI .689, SAITS .702"
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this protocol."""
    parser.add_argument("--source", type=Path, required=True, help="folder of set-a.tar.gz, Outcomes-a.txt")
    parser.add_argument("--hidden", type=float, nargs="+", default=[0.1], help="share of measured points")
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="draws of splits")
    add_imputer_options(parser)


def outcomes(options: Namespace) -> Iterator[Outcome]:
    """Yield the scores of each share and draw, and their means over draws."""
    require_files(options.source, "set-a.tar.gz", "Outcomes-a.txt")
    tables = read_tables(options.source)
    for share in options.hidden:
        all_rows = []
        for split in options.splits:
            stays, hidden, splits = preprocess(tables, share, AUTHORS_SEED + split)
            rows, costs = score_imputers(options, stays, hidden, splits)
            for row in rows.values():
                row["MAE by linear"] = row["MAE"] / rows[LINEAR]["MAE"]
            all_rows.append(rows)
            yield Outcome(f"{share:.0%} hidden, draw {split}", hidden, rows, (PUBLISHED,), costs)
        if len(all_rows) > 1:
            metrics = {name: list(row) for name, row in all_rows[0].items()}
            means = {
                name: {m: float(np.mean([rows[name][m] for rows in all_rows])) for m in of_method}
                for name, of_method in metrics.items()
            }
            yield Outcome(f"{share:.0%} hidden, mean of {len(all_rows)} draws", None, means, (PUBLISHED,))


def read_tables(source: Path) -> dict:
    """Read set A as BenchPOTS's loader of data does: the mean of each variable in each hour."""
    parts = []
    with tarfile.open(source / "set-a.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".txt"):
                parts.append(pd.read_csv(file).assign(RecordID=int(Path(member.name).stem)))
    rows = pd.concat(parts)
    rows["Time"] = rows["Time"].str.partition(":")[0].astype(int)
    rows = rows[rows["Parameter"] != "RecordID"]  # which is in the files too
    hours = rows.pivot_table("Value", ["RecordID", "Time"], "Parameter").reset_index()
    hours = hours[hours.groupby("RecordID")["Time"].transform("size") > 1]  # else the stay has no series
    outcomes = pd.read_csv(source / "Outcomes-a.txt").set_index("RecordID")[["In-hospital_death"]]
    return {"set-a": hours, "outcomes-a": outcomes}


def preprocess(tables: dict, share: float, seed: int) -> tuple[Stays, np.ndarray, dict[str, np.ndarray]]:
    """Return stays, hidden cells (stay, hour, variable) and the stays of each split, by BenchPOTS."""
    try:
        import tsdb
        from benchpots.datasets import preprocess_physionet2012
        from pypots.utils.random import set_random_seed
    except ImportError as error:
        raise DataMissingError(f"{error.name} is not installed: pip install -e '.[bench]'") from error
    set_random_seed(seed)
    loaded = tables | {"static_features": ["Age", "Gender", "ICUType", "Height"]}
    with patch.object(tsdb, "load", lambda name: loaded):  # else it downloads sets A to C
        data = preprocess_physionet2012("set-a", share, features=list(VARIABLES))
    parts = {"train": data["train_X"], "val": data["val_X_ori"], "test": data["test_X_ori"]}
    visible = np.concatenate([data["train_X"], data["val_X"], data["test_X"]])
    values = np.concatenate(list(parts.values()))
    icu_types = np.concatenate([data[f"{split}_ICUType"] for split in parts]).astype(int)
    ends = np.cumsum([len(part) for part in parts.values()])
    rows = np.split(np.arange(len(values)), ends[:-1])
    return (
        Stays(values, icu_types),
        ~np.isnan(values) & np.isnan(visible),
        dict(zip(parts, rows, strict=True)),
    )
