"""P5, an outside hospital: a run on PTB-XL with default settings completes LUDB, whose units are odd.

Digital samples of LUDB are microvolts, while the gains of its headers are wrong lead by lead; the second set
of cases takes those gains. At 100 Hz single samples, gaps of 0.5 s, limb leads and V leads are hidden. RMSE
in standard deviations of LUDB's leads in the units that are given, divided by that of linear interpolation;
of absent leads that is the mean.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from published.ecg import (
    Complete,
    Records,
    add_run_options,
    completions_of,
    read_ludb,
    trained_run,
)
from published.outcome import Outcome, Rows

from condi_core import load_model
from condi_core.missingness import Missingness, missingness_mask
from condi_core.training import derive_seed
from data_partitions.sources.ptb_xl import LEADS

PATCH_SAMPLES = 10
MASKS = {
    "points 20%": Missingness(points=0.2),
    "points 50%": Missingness(points=0.5),
    "points 80%": Missingness(points=0.8),
    "gaps 50%": Missingness(gaps=0.5),
}
ABSENT = {"limb leads III aVR aVL aVF": slice(2, 6), "leads V2 V3 V4": slice(7, 10)}


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this protocol."""
    add_run_options(parser, "compare-with='' task.rounds=1 task.steps=1")
    parser.add_argument("--outside", type=Path, required=True, help="folder of LUDB")


def outcomes(options: Namespace) -> Iterator[Outcome]:
    """Yield the scores of each kind of loss, with both readings of the units."""
    readings = {
        "microvolts": read_ludb(options.outside),
        "gains of the headers": read_ludb(options.outside, gains_of_headers=True),
    }
    with trained_run(options) as run:
        methods = completions_of(load_model(run))
        for reading, records in readings.items():
            for kind in (*MASKS, *ABSENT):
                hidden = hide(records, kind)
                rows = score(records.values, hidden, methods)
                yield Outcome(f"{reading}, {kind}", hidden, rows, (f"{len(records.ids)} records",))


def hide(records: Records, kind: str) -> np.ndarray:
    """Return which cells (record, lead, sample) are hidden."""
    hidden = np.zeros(records.values.shape, bool)
    if kind in ABSENT:
        hidden[:, ABSENT[kind]] = True
        return hidden
    for i, (values, record) in enumerate(zip(records.values, records.ids, strict=True)):
        windows = values.reshape(len(LEADS), -1, PATCH_SAMPLES)
        seed = derive_seed("outside hospital", kind)
        mask = missingness_mask(
            windows, np.ones_like(windows, bool), MASKS[kind], seed=seed, record_id=record
        )
        hidden[i] = mask.reshape(values.shape)
    return hidden


def score(values: np.ndarray, hidden: np.ndarray, methods: dict[str, Complete]) -> Rows:
    """Return the RMSE in standard deviations of the leads, its ratio to linear, and by lead the worst ratio.

    `worst lead` is the largest ratio of a lead's RMSE to that of its mean: above 1 nothing would be better.
    """
    deviation, visible = values.std(axis=(0, 2))[:, None], np.where(hidden, 0, values)
    squares = {
        name: np.where(hidden, (complete(visible, ~hidden) - values) / deviation, 0) ** 2
        for name, complete in methods.items()
    }
    count = hidden.sum(axis=(0, 2))
    lost = count > 0
    rmse = {name: np.sqrt(s.sum() / hidden.sum()) for name, s in squares.items()}
    by_lead = {name: np.sqrt(s.sum(axis=(0, 2))[lost] / count[lost]) for name, s in squares.items()}
    return {
        name: {
            "RMSE": rmse[name],
            "by linear": rmse[name] / rmse["linear interpolation"],
            "worst lead by mean": float((by_lead[name] / by_lead["mean of the lead"]).max()),
        }
        for name in methods
    }
