"""Figures of the scores of labels: decisions, ROC, precision-recall and reliability."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from condi_core.averaging import Arrays
from condi_core.evaluation.classification import precision_recall, roc
from condi_core.evaluation.reliability import ReliabilityBin, reliability
from condi_core.windows import Schema
from data_partitions.table import Table, Value
from server_app.artifacts.stored_sums import histograms
from server_app.report.figures import Series, heatmap, lines
from server_app.report.markup import percent
from server_app.report.operating_points import shown_labels

UNIT = (0.0, 1.0)


def label_figures(schema: Schema, sums: Arrays) -> list[str]:
    """Draw the decisions and the curves of the labels.

    Parameters
    ----------
    schema : Schema
    sums : dict
        Sums of a classification, over all sites.

    Returns
    -------
    list of str
        Figures in HTML; "" for one that the sums do not define.
    """
    labels = shown_labels(schema)
    of_one = f": {next(iter(labels.values()))}" if len(labels) == 1 else ""
    scored = {
        label: (positives, negatives)
        for k, label in labels.items()
        for positives, negatives in [histograms(sums, k)]
        if positives.sum() and negatives.sum()
    }
    bins = {label: reliability(*pair) for label, pair in scored.items()}
    shares = (0.0, _highest_share(bins.values()))
    return [
        _decisions(schema, sums),
        lines(
            f"ROC curve{of_one}" if of_one else "ROC curves",
            [Series(label, corners(*roc(*pair)), dots=False) for label, pair in scored.items()],
            "1 − specificity",
            "sensitivity",
            x_range=UNIT,
            y_range=UNIT,
            diagonal=True,
        ),
        lines(
            f"Precision-recall curve{of_one}" if of_one else "Precision-recall curves",
            [Series(label, corners(*precision_recall(*pair)), dots=False) for label, pair in scored.items()],
            "recall (sensitivity)",
            "precision (PPV)",
            x_range=UNIT,
            y_range=UNIT,
            levels=[p.sum() / (p.sum() + n.sum()) for p, n in scored.values()],
        ),
        lines(
            f"Reliability diagram{of_one}",
            [_reliability_series(label, of_label) for label, of_label in bins.items()],
            f"mean predicted probability, {_describe_bins(bins.values())}",
            "observed rate",
            x_range=shares,
            y_range=shares,
            diagonal=True,
        ),
    ]


def reliability_table(schema: Schema, sums: Arrays) -> Table:
    """Make a table of the bins of the reliability diagram with their counts."""
    rows: list[list[Value]] = []
    for k, label in shown_labels(schema).items():
        for part in reliability(*histograms(sums, k)):
            low, high = map(percent, part.interval)
            shares = (percent(part.mean_score), percent(part.observed_rate))
            rows.append([label, part.windows, part.positives, *shares, low, high])
    columns = ["label", "windows", "with the label", "mean predicted", "observed", "95 % from", "to"]
    return Table("Reliability in bins of about equally many windows", columns, rows)


def corners(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Return the points of a step curve at which it starts, turns and ends."""
    distinct = np.ones(len(x), bool)
    distinct[1:] = (np.diff(x) != 0) | (np.diff(y) != 0)
    x, y = x[distinct], y[distinct]
    if len(x) > 2:
        straight = ((x[2:] == x[1:-1]) & (x[1:-1] == x[:-2])) | ((y[2:] == y[1:-1]) & (y[1:-1] == y[:-2]))
        corner = np.concatenate([[True], ~straight, [True]])
        x, y = x[corner], y[corner]
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _highest_share(bins: Iterable[list[ReliabilityBin]]) -> float:
    """Return a tenth that no probability, rate or interval is above: those of rare events are all small."""
    parts = [part for of_label in bins for part in of_label]
    highest = max((max(part.mean_score, part.interval[1]) for part in parts), default=1.0)
    return min(1.0, math.ceil(10 * highest) / 10)


def _describe_bins(bins: Iterable[list[ReliabilityBin]]) -> str:
    windows = [part.windows for of_label in bins for part in of_label]
    low, high = min(windows, default=0), max(windows, default=0)
    return f"bins of {low:.0f} windows" if low == high else f"bins of {low:.0f} to {high:.0f} windows"


def _reliability_series(label: str, bins: list[ReliabilityBin]) -> Series:
    notes = [
        f"{label}: predicted {part.mean_score:.0%}, observed {part.positives:.0f} of {part.windows:.0f}"
        for part in bins
    ]
    points = [(part.mean_score, part.observed_rate) for part in bins]
    return Series(label, points, intervals=[part.interval for part in bins], notes=notes)


def _decisions(schema: Schema, sums: Arrays) -> str:
    """Draw label by label for a single-label task, and the four decision counts of each label otherwise."""
    labels = list(schema.labels)
    if "confusion" in sums:
        counts = sums["confusion"]
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return heatmap(
            "Confusion matrix", labels, labels, counts, shares, row_label="true", column_label="predicted"
        )
    if "confusion" in schema.task_kind.sum_shapes(len(labels)):
        return ""
    tp, fp, fn, tn = sums["task"][:, :4].T
    counts = np.stack([tp, fn, fp, tn], 1)
    pairs = counts.reshape(len(labels), 2, 2)  # windows with the label, then windows without it
    shares = (pairs / np.maximum(pairs.sum(2, keepdims=True), 1)).reshape(counts.shape)
    columns = ["true pos.", "false neg.", "false pos.", "true neg."]
    return heatmap("Decisions at a threshold of 0.5", labels, columns, counts, shares, row_label="label")
