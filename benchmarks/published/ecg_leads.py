"""P3, twelve leads of an ECG from few: WearECG, ECGrecover and TolerantECG report so.

{II}, {I, II, V2} and {II, V1, V5} are given, and the other leads are absent for the whole record. RMSE in mV
and Pearson's r of each reconstructed lead, averaged over the leads of a record and then over records; of
patients that were not trained on, and of LUDB, an outside hospital. Downstream, a classifier that was trained
on real twelve leads reads the reconstructed ones as if they were real.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from paired import macro_auroc
from published.ecg import (
    NO_MISSINGNESS,
    Complete,
    Records,
    add_run_options,
    completions_of,
    read_ludb,
    read_test_records,
    trained_run,
)
from published.outcome import Outcome, Rows

from condi_core import load_model
from condi_core.task.model import TaskModel
from data_partitions.sources.ptb_xl import LEADS

LEAD_SETS = (("II",), ("I", "II", "V2"), ("II", "V1", "V5"))
SETTINGS = (
    f"{NO_MISSINGNESS} compare-with='mask' imputer.relation-rounds=3 imputer.rounds=6 imputer.steps=40 "
    "imputer.samples=0 task.rounds=8 task.steps=30 task.batch=32"
)
CLASSIFIER = "mask"


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this protocol."""
    add_run_options(parser, SETTINGS)
    parser.add_argument("--outside", type=Path, help="folder of LUDB")


def outcomes(options: Namespace) -> Iterator[Outcome]:
    """Yield the scores of each set of leads, of both hospitals."""
    with trained_run(options) as run:
        model = load_model(run)
        hospitals = {"PTB-XL": read_test_records(run)}
        if options.outside:
            hospitals["LUDB"] = read_ludb(options.outside)
        classifier = model.find_classifier(CLASSIFIER).task
        for given in LEAD_SETS:
            for hospital, records in hospitals.items():
                observed = np.zeros(records.values.shape, bool)
                observed[:, [LEADS.index(lead) for lead in given]] = True
                case = f"from {' '.join(given)}, {hospital}"
                rows = score_leads(records, observed, completions_of(model), classifier)
                yield Outcome(case, ~observed, rows, (f"{len(records.ids)} records",))


def score_leads(
    records: Records, observed: np.ndarray, methods: dict[str, Complete], classifier: TaskModel
) -> Rows:
    """Score reconstructed leads; with labels, also the classifier on them and on the real ones."""
    rows: Rows = {}
    absent = ~observed.any(axis=(0, 2))
    visible = np.where(observed, records.values, 0)
    for name, complete in methods.items():
        if name == "linear interpolation":  # of an absent lead it is the mean
            continue
        completed = complete(visible, observed)
        errors, correlations = lead_scores(records.values[:, absent], completed[:, absent])
        rows[name] = {"RMSE, mV": errors.mean(1).mean()}
        if not np.isnan(correlations).all():
            rows[name]["r"] = np.nanmean(np.nanmean(correlations, 1))
        by_lead = zip(np.array(LEADS)[absent], errors.mean(0), strict=True)
        rows[name] |= {f"RMSE {lead}": error for lead, error in by_lead}
        if len(records.labels[0]):
            rows[name]["AUROC"] = classify(classifier, completed, np.ones_like(observed), records.labels)
    if len(records.labels[0]):
        real = classify(classifier, records.values, np.ones_like(observed), records.labels)
        alone = classify(classifier, visible, observed, records.labels)
        rows |= {"real leads": {"AUROC": real}, "the given leads alone": {"AUROC": alone}}
    return rows


def lead_scores(truth: np.ndarray, completed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return RMSE and Pearson's r (record, lead); r is NaN where a signal is constant."""
    errors = np.sqrt(np.square(completed - truth).mean(-1))
    a, b = (x - x.mean(-1, keepdims=True) for x in (truth.astype(float), completed.astype(float)))
    sizes = np.sqrt(np.square(a).sum(-1) * np.square(b).sum(-1))
    products = (a * b).sum(-1)
    return errors, np.divide(products, sizes, out=np.full_like(products, np.nan), where=sizes > 1e-9)


@torch.no_grad()
def classify(model: TaskModel, values: np.ndarray, observed: np.ndarray, labels: np.ndarray) -> float:
    """Return the macro-AUROC of a classifier that takes `observed` for measured."""
    shape = (len(values), len(LEADS), -1, model.extractor.patch_embedding.groups[0].samples)
    x, mask = (torch.from_numpy(array).reshape(shape) for array in (values, observed))
    return macro_auroc(model.predictions(model(x, mask, mask)).numpy(), labels)
