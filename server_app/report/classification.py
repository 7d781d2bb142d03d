"""The section of the task: metrics of each method, and curves and counts where labels are classes."""

from __future__ import annotations

import numpy as np

from condi_core.averaging import Arrays
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
from data_partitions.table import Table, Value
from server_app.artifacts.run_record import RunRecord, histograms, sum_over_sites
from server_app.report.figures import Series, heatmap, lines
from server_app.report.markup import Section, details, figure_row, heading, metric_cell, paragraph, section

UNIT = (0.0, 1.0)


TEXT_OF_CLASSIFICATION = (
    "AUROC and AUPRC are the areas under the ROC curve and the precision-recall curve: 1 is perfect, and an "
    "AUROC of 0.5 is no better than chance. AUROC, AUPRC and F1 are averaged over the labels; if a window "
    "has one of two labels, AUPRC is that of the second label, the event. For the reliability diagrams, "
    "predicted probabilities of each label are put into ten bins of equal width. The calibration error is "
    "the mean distance from the diagonal, weighted by the number of windows in a bin. Bins with few windows "
    "are noisy."
)
TEXT_OF_ORDINAL = (
    " Kappa has linear weights, and the mean deviation counts by how many classes a decision is wrong."
)


def classification(run: RunRecord) -> Section:
    title = run.schema.task_kind.title if run.sites else "Classification"
    if not run.task:
        return section(title, paragraph("No task model has been scored on test windows yet."))
    labels = {name: metric.label for name, metric in TASK_METRICS.items()} | {"score": "mean loss"}
    keys = [key for key in labels if any(key in metrics for metrics in run.task.values())]
    rows: list[list[Value]] = [
        [method_title(method), *(_score_cell(key, metrics.get(key)) for key in keys)]
        for method, metrics in run.task.items()
    ]
    columns = ["method", *(labels[key] for key in keys)]
    parts = [
        Table(f"{title} of test windows", columns, rows).to_html(),
        paragraph(_explanation(run)),
    ]
    for method in [method for method in run.task if method in run.scored_methods]:
        sums = sum_over_sites(run.sums[f"task-{method}"])
        if "task" in sums:  # counts and score histograms, which only kinds of classification have
            parts += [heading(method_title(method)), *_method(run, sums)]
    if not run.scored_methods:
        parts.append(paragraph("There are no curves, because this run has no sums of its test scores."))
    return section(title, *parts)


def _explanation(run: RunRecord) -> str:
    schema = run.schema
    if not schema.task_kind.standardises_labels:
        return TEXT_OF_CLASSIFICATION + (TEXT_OF_ORDINAL if schema.task == "ordinal" else "")
    unit = schema.label_unit or "the unit of the labels"
    return (
        f"MAE is the mean absolute error and RMSE the root of the mean squared error, both in {unit}. R² is "
        "the share of the variance of the labels that is explained: 0 is no better than their mean. The "
        "interval from the predicted 5 % quantile to the 95 % quantile should contain 90 % of the labels. "
        "The mean loss is in standard deviations of the labels."
    )


def method_title(method: str) -> str:
    """Name a method with its summary."""
    return f"{method}: {METHODS[method].summary}" if method in METHODS else method


def _score_cell(key: str, value: float | None) -> Value:
    return metric_cell(TASK_METRICS[key], value) if key in TASK_METRICS else value


def _method(run: RunRecord, sums: Arrays) -> list[str]:
    metrics = (TASK_METRICS["auroc"], TASK_METRICS["auprc"], CALIBRATION_ERROR)
    rows: list[list[Value]] = []
    bins: list[list[Value]] = []
    roc_curves, reliability = [], []
    calibration_errors = []
    for k, label in enumerate(run.schema.labels):
        positives, negatives = histograms(sums, k)
        counts = sums["task"][k, : len(DECISION_COUNTS) - 1].tolist()
        calibration_errors.append(calibration_error(positives, negatives))
        values = (
            auroc(positives, negatives),
            average_precision(positives, negatives),
            calibration_errors[-1],
        )
        rows.append([label, *counts, *map(metric_cell, metrics, values)])
        label_bins = calibration(positives, negatives).tolist()
        bins += [[label, f"{i / 10:.1f} to {(i + 1) / 10:.1f}", *row] for i, row in enumerate(label_bins)]
        reliability.append(Series(label, [(mean, rate) for mean, rate, _ in label_bins]))
        if positives.sum() and negatives.sum():
            roc_curves.append(Series(label, _corners(*roc(positives, negatives)), dots=False))
    finite = [error for error in calibration_errors if not np.isnan(error)]
    mean_error = metric_cell(CALIBRATION_ERROR, float(np.mean(finite)) if finite else None).text
    return [
        figure_row(
            _confusion(run, sums),
            lines(
                "ROC curves",
                roc_curves,
                "false positive rate",
                "true positive rate",
                x_range=UNIT,
                y_range=UNIT,
                diagonal=True,
            ),
            lines(
                "Reliability diagram",
                reliability,
                "mean predicted probability",
                "observed rate",
                x_range=UNIT,
                y_range=UNIT,
                diagonal=True,
            ),
        ),
        Table(
            "Results of each label", ["label", *DECISION_COUNTS[:4], *(m.label for m in metrics)], rows
        ).to_html(),
        paragraph(f"Mean calibration error over the labels: {mean_error}"),
        details(
            "Reliability in numbers",
            Table(
                "Reliability in ten bins",
                ["label", "predicted probability", "mean predicted", "observed rate", "windows"],
                bins,
            ).to_html(),
        ),
    ]


def _corners(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Return the points of a step curve at which it starts, turns and ends."""
    distinct = np.ones(len(x), bool)
    distinct[1:] = (np.diff(x) != 0) | (np.diff(y) != 0)
    x, y = x[distinct], y[distinct]
    if len(x) > 2:
        straight = ((x[2:] == x[1:-1]) & (x[1:-1] == x[:-2])) | ((y[2:] == y[1:-1]) & (y[1:-1] == y[:-2]))
        corner = np.concatenate([[True], ~straight, [True]])
        x, y = x[corner], y[corner]
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _confusion(run: RunRecord, sums: Arrays) -> str:
    """Draw label by label for a single-label task, and the four decision counts of each label otherwise."""
    labels = list(run.schema.labels)
    if "confusion" in sums:
        counts = sums["confusion"]
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return heatmap(
            "Confusion matrix", labels, labels, counts, shares, row_label="true", column_label="predicted"
        )
    if "confusion" in run.schema.task_kind.sum_shapes(len(labels)):
        return ""
    tp, fp, fn, tn = sums["task"][:, :4].T
    counts = np.stack([tp, fn, fp, tn], 1)
    pairs = counts.reshape(len(labels), 2, 2)  # windows with the label, then windows without it
    shares = (pairs / np.maximum(pairs.sum(2, keepdims=True), 1)).reshape(counts.shape)
    columns = ["true pos.", "false neg.", "false pos.", "true neg."]
    return heatmap("Decisions at a threshold of 0.5", labels, columns, counts, shares, row_label="label")
