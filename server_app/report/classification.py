"""The task on test windows: metrics, confusion, ROC curves and calibration, for each method."""

from __future__ import annotations

import numpy as np

from condi_core.evaluation.catalogue import CALIBRATION_ERROR, TASK_METRICS
from condi_core.evaluation.classification import (
    DECISION_COUNTS,
    auroc,
    average_precision,
    calibration,
    calibration_error,
    roc,
)
from condi_core.methods import METHODS
from data_partitions.table import Table, format_number
from server_app.artifacts.run_directory import Arrays
from server_app.artifacts.run_record import RunRecord, histograms, sum_over_sites
from server_app.report.figures import Series, heatmap, lines
from server_app.report.markup import details, figure_row, heading, paragraph, section


def classification(run: RunRecord) -> tuple[str, str]:
    if not run.task:
        return section("Classification", paragraph("No task model has been scored on test windows."))
    labels = {name: metric.label for name, metric in TASK_METRICS.items()} | {"score": "mean loss"}
    keys = [key for key in labels if any(key in found for found in run.task.values())]
    rows = [[titled(method), *(found.get(key) for key in keys)] for method, found in run.task.items()]
    parts = [
        Table("Classification of test windows", ["method", *(labels[key] for key in keys)], rows).to_html()
    ]
    for method in run.scored_methods:
        parts += [heading(titled(method)), *_method(run, sum_over_sites(run.sums[f"task-{method}"]))]
    if not run.scored_methods:
        parts.append(paragraph("Curves need the sums of the test scores, which this run has not kept."))
    return section("Classification", *parts)


def titled(method: str) -> str:
    known = METHODS.get(method)
    return f"{method}: {known.summary}" if known else method


def _method(run: RunRecord, sums: Arrays) -> list[str]:
    labels, rows, bins, curves, reliable = run.schema.labels, [], [], [], []
    for k, label in enumerate(labels):
        positives, negatives = histograms(sums, k)
        counts = sums["task"][k, : len(DECISION_COUNTS) - 1]
        area, ece = auroc(positives, negatives), calibration_error(positives, negatives)
        rows.append([label, *counts, area, average_precision(positives, negatives), ece])
        tenths = calibration(positives, negatives)
        bins += [[label, f"{i / 10:.1f} to {(i + 1) / 10:.1f}", *row] for i, row in enumerate(tenths)]
        reliable.append(Series(label, [(mean, share) for mean, share, _ in tenths]))
        if positives.sum() and negatives.sum():
            curves.append(Series(label, _corners(*roc(positives, negatives)), dots=False))
    unit = (0.0, 1.0)
    square = {"x_range": unit, "y_range": unit, "diagonal": True}
    known = [row[-1] for row in rows if not np.isnan(row[-1])]
    mean = format_number(float(np.mean(known)) if known else None)
    return [
        figure_row(
            _confusion(run, sums),
            lines("ROC", curves, "false positive rate", "true positive rate", **square),
            lines("Reliability", reliable, "mean predicted", "observed rate", **square),
        ),
        Table(
            "Label by label",
            [
                "label",
                *DECISION_COUNTS[:4],
                *(m.label for m in (TASK_METRICS["auroc"], TASK_METRICS["auprc"], CALIBRATION_ERROR)),
            ],
            rows,
        ).to_html(),
        paragraph(
            "Reliability: scores in ten bins of equal width, each label against the rest; the calibration "
            f"error is the mean distance from the diagonal, weighted by windows (over the labels {mean} "
            "on average). Bins of few windows scatter."
        ),
        details(
            "Reliability in numbers",
            Table(
                "Reliability in ten bins",
                ["label", "score", "mean predicted", "observed rate", "windows"],
                bins,
            ).to_html(),
        ),
    ]


def _corners(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """The curve without points that are on the line between their neighbours on a step."""
    kept = np.ones(len(x), bool)
    same = (np.diff(x) == 0) & (np.diff(y) == 0)
    kept[1:] = ~same
    x, y = x[kept], y[kept]
    flat = ((x[2:] == x[1:-1]) & (x[1:-1] == x[:-2])) | ((y[2:] == y[1:-1]) & (y[1:-1] == y[:-2]))
    inner = np.concatenate([[True], ~flat, [True]]) if len(x) > 2 else np.ones(len(x), bool)
    return list(zip(x[inner].tolist(), y[inner].tolist(), strict=True))


def _confusion(run: RunRecord, sums: Arrays) -> str:
    """Of a single-label task label × label; of a multi-label one the four counts of each label."""
    labels = list(run.schema.labels)
    if "confusion" in sums:
        counts = sums["confusion"]
        title, columns, row_label, column_label = "Confusion matrix", labels, "true", "decided"
    elif "confusion" not in run.schema.task_kind.sum_shapes(len(labels)):
        tp, fp, fn, tn = sums["task"][:, :4].T
        counts = np.stack([tp, fn, fp, tn], 1)
        columns = ["found", "missed", "false alarm", "rightly not"]
        title, row_label, column_label = "Decisions at one half, label by label", "label", ""
    else:
        return ""
    width = counts.shape[1] // (1 if "confusion" in sums else 2)
    parts = counts.reshape(len(labels), -1, width)
    shares = (parts / np.maximum(parts.sum(2, keepdims=True), 1)).reshape(counts.shape)
    return heatmap(title, labels, columns, counts, shares, row_label=row_label, column_label=column_label)
