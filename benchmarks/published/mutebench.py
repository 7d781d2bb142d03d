"""P4, the two modes of MuteBench (Zheng et al. 2026, arXiv:2605.15235) on PTB-XL.

Modality missing: of each record a share of the leads is absent. Within-modality missing: each lead lacks one
contiguous segment, a share of its time, at a random place. The shares go beyond those of training. The score
is the fall of a classifier's macro-AUROC from complete records. The description leaves the shares open; the
rival thesis to imputation is a classifier that was made robust by dropout (method `robust`).
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import numpy as np
from paired import macro_auroc
from published.ecg import Records, add_run_options, read_test_records, trained_run
from published.outcome import Outcome, Rows

from condi_core import load_model
from condi_core.model import TrainedRun
from condi_core.training import derive_seed

MODES = ("modality missing", "within-modality missing")
SHARES = (0.2, 0.4, 0.6, 0.8)
SETTINGS = (
    "compare-with='mask,robust,pamf,estimate' imputer.relation-rounds=3 imputer.rounds=6 imputer.steps=40 "
    "imputer.samples=0 task.rounds=8 task.steps=30 task.batch=32"
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this protocol."""
    add_run_options(parser, SETTINGS)


def outcomes(options: Namespace) -> Iterator[Outcome]:
    """Yield the scores of each mode and share."""
    with trained_run(options) as run:
        model, records = load_model(run), read_test_records(run)
        complete = classify(model, records, np.ones(records.values.shape, bool))
        yield Outcome("complete", None, {name: {"AUROC": score} for name, score in complete.items()})
        for mode in MODES:
            for share in SHARES:
                hidden = hide(mode, records.values.shape, share, options.seed)
                scores = classify(model, records, ~hidden)
                rows: Rows = {
                    name: {"AUROC": score, "fall": complete[name] - score} for name, score in scores.items()
                }
                yield Outcome(f"{mode}, {share:.0%}", hidden, rows, (f"{len(records.ids)} records",))


def hide(mode: str, shape: tuple[int, int, int], share: float, seed: int) -> np.ndarray:
    """Return which cells (record, lead, sample) are hidden; one lead at least stays."""
    records, leads, samples = shape
    rng = np.random.default_rng(derive_seed("mutebench", mode, share, seed))
    if mode == MODES[0]:
        number = min(round(share * leads), leads - 1)
        order = rng.random((records, leads)).argsort(1)
        return np.repeat((order < number)[..., None], samples, 2)
    length = round(share * samples)
    start = rng.integers(0, samples - length + 1, (records, leads, 1))
    time = np.arange(samples)
    return (time >= start) & (time < start + length)


def classify(model: TrainedRun, records: Records, observed: np.ndarray) -> dict[str, float]:
    """Return the macro-AUROC of each classifier of a run on records of which some cells are observed."""
    windows = [array.reshape(-1, *model.schema.shape) for array in (records.values, observed)]
    return {
        name: macro_auroc(model.predict(*windows, method=name).values, records.labels)
        for name in model.classifiers
    }
