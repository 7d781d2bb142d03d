"""P1, the protocol of CSDI on PhysioNet 2012 (Tashiro et al., NeurIPS 2021, and their published code).

Set A, 35 variables, 48 hours, the last value of an hour, without plausible ranges, standardised over all
stays, which is the unit of all scores. Of each stay a part of the measured cells is hidden. A fold has 800
stays for the test, 400 for validation and 2800 for training.
"""

from __future__ import annotations

import tarfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
from published.outcome import Outcome, require_files
from published.stay_imputers import add_imputer_options, score_imputers
from published.stays import HOURS, VARIABLES, Stays

PROTOCOL_SEED = 1
TRAINING_SHARE, TEST_SHARE = 0.7, 0.2
# MAE, RMSE and CRPS by sum of |x| of CSDI, means of five folds.
PUBLISHED = {0.1: (0.217, 0.498, 0.238), 0.5: (0.301, 0.614, 0.330), 0.9: (0.481, 0.803, 0.522)}


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this protocol."""
    parser.add_argument("--source", type=Path, required=True, help="folder of set-a.tar.gz")
    parser.add_argument("--hidden", type=float, nargs="+", default=[0.1, 0.5], help="share of measured cells")
    parser.add_argument("--folds", type=int, nargs="+", default=[0], choices=range(5))
    add_imputer_options(parser)


def outcomes(options: Namespace) -> Iterator[Outcome]:
    """Yield the scores of each share and fold."""
    require_files(options.source, "set-a.tar.gz")
    stays = read_stays(options.source)
    for share in options.hidden:
        hidden = choose_hidden_cells(stays.values, share)
        for fold in options.folds:
            splits = split_stays(len(hidden), fold)
            rows, costs = score_imputers(options, stays, hidden, splits)
            mae, rmse, crps = PUBLISHED.get(share, (np.nan,) * 3)
            note = f"CSDI as published: MAE {mae}, RMSE {rmse}, CRPS by sum of |x| {crps}"
            case = f"{share:.0%} hidden, fold {fold}"
            yield Outcome(case, hidden, rows, (note,), costs)


def read_stays(source: Path) -> Stays:
    """Read the archive of set A, with stays in the order of their numbers."""
    tables = {}
    with tarfile.open(source / "set-a.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".txt"):
                tables[Path(member.name).stem] = pd.read_csv(TextIOWrapper(file))
    column_of = {name: i for i, name in enumerate(VARIABLES)}
    values = np.full((len(tables), HOURS, len(VARIABLES)), np.nan)
    icu_types = np.zeros(len(tables), int)
    for stay, number in enumerate(sorted(tables)):
        table = tables[number]
        hours = table["Time"].str.partition(":")[0].astype(int)
        for hour, name, value in zip(hours, table["Parameter"], table["Value"], strict=True):
            if name in column_of and hour < HOURS:
                values[stay, hour, column_of[name]] = value
            elif name == "ICUType":
                icu_types[stay] = value
    measured = values.reshape(-1, len(VARIABLES))
    return Stays((values - np.nanmean(measured, 0)) / np.nanstd(measured, 0), icu_types)


def choose_hidden_cells(values: np.ndarray, share: float) -> np.ndarray:
    """Return which measured cells are hidden, as the authors' code draws them."""
    random = np.random.RandomState(PROTOCOL_SEED)
    hidden = np.zeros(values.shape, bool)
    for stay, measured in enumerate(~np.isnan(values)):
        cells = np.flatnonzero(measured)
        hidden[stay].reshape(-1)[random.choice(cells, int(len(cells) * share), replace=False)] = True
    return hidden


def split_stays(count: int, fold: int) -> dict[str, np.ndarray]:
    """Return the stays of each split of a fold, as the authors' code draws them."""
    stays = np.arange(count)
    np.random.RandomState(PROTOCOL_SEED).shuffle(stays)
    start, end = int(fold * TEST_SHARE * count), int((fold + 1) * TEST_SHARE * count)
    others = np.delete(stays, np.arange(start, end))
    np.random.RandomState(PROTOCOL_SEED).shuffle(others)
    num_training = int(count * TRAINING_SHARE)
    return {"train": others[:num_training], "val": others[num_training:], "test": stays[start:end]}
