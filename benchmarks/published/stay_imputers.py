"""Train CondI and the chosen peers on the stays of a split, and score the hidden cells of its test stays.

CondI is trained by a run with a site for each ICU type, or on all stays together in this process.
"""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
from published.outcome import Rows
from published.pooled_imputer import train_pooled
from published.stays import Stays, score, write_sites
from published.trained_peers import add_peer_options, score_peers
from runs import run_federation

from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from server_app.operations.run_config import default_settings

SETTINGS = "imputer.relation-rounds=9 imputer.rounds=4 imputer.steps=40 imputer.batch=32"


def add_imputer_options(parser: ArgumentParser) -> None:
    """Add the options of what is trained and how it is scored."""
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--run-config", default=SETTINGS, help="settings of phase 1")
    parser.add_argument(
        "--pooled-seconds", type=float, help="train on all stays together for this time, without a run"
    )
    add_peer_options(parser)


def score_imputers(
    options: Namespace, stays: Stays, hidden: np.ndarray, splits: dict[str, np.ndarray]
) -> tuple[Rows, dict[str, dict[str, float | str]]]:
    """Return scores and costs of CondI, naive imputers and the peers, by name.

    Parameters
    ----------
    options : of `add_imputer_options`
    stays : of all splits
    hidden : bool (stay, hour, variable)
    splits : stays of each split
    """
    imputer, seconds = _train(options, stays, hidden, splits)
    test = splits["test"]
    rows = score(imputer, stays.values[test], hidden[test], options.draws)
    peer_rows, peer_costs = score_peers(options, stays.values, hidden, splits)
    return rows | peer_rows, {"CondI": {"s of training": round(seconds)}} | peer_costs


def _train(
    options: Namespace, stays: Stays, hidden: np.ndarray, splits: dict[str, np.ndarray]
) -> tuple[DiffusionImputer, float]:
    """Return the trained imputer and the seconds of its training."""
    if options.pooled_seconds:
        config = RunConfig.from_flat(default_settings()).imputer
        return train_pooled(config, stays.values[splits["train"]], options.pooled_seconds)
    with tempfile.TemporaryDirectory() as folder:
        write_sites(Path(folder) / "federation", stays, hidden, splits)
        run = run_federation(Path(folder) / "federation", options.run_config)
    return run.imputer, sum(run.seconds.values())
