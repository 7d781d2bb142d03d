"""The parts of a model card on test results: imputation, task, each label, calibration and subgroups."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from condi_core.averaging import Arrays
from condi_core.evaluation.catalogue import (
    CALIBRATION_ERROR,
    IMPUTATION_METRICS,
    TASK_METRICS,
    Metric,
    metrics_of_task,
    missingness_label,
)
from condi_core.evaluation.classification import (
    auroc,
    average_precision,
    calibration_error,
)
from condi_core.evaluation.imputers import imputer_label
from data_partitions.table import DASH, Cell, Table, Value
from server_app.artifacts.estimates import NO_ESTIMATE, Estimate
from server_app.artifacts.run_estimates import estimates_by_row, task_estimates
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.stored_sums import histograms, sum_over_sites
from server_app.report.classification import method_title
from server_app.report.imputation import expect_coverage, imputation_metric, imputers_in_order
from server_app.report.markup import estimate_cell, metric_cell
from server_app.report.operating_points import explain_thresholds, operating_points_table
from server_app.report.site_scores import site_metrics, site_rmse
from server_app.report.small_groups import mark_label
from server_app.report.subgroups import explanation, subgroup_tables


def imputation_results(run: RunRecord) -> list[str]:
    if not run.imputation:
        return []
    by_site, estimates = site_rmse(run), estimates_by_row(run)
    imputers = imputers_in_order(run.imputation)
    rows: list[list[Value]] = []
    for pattern, results in run.imputation.items():
        label = missingness_label(pattern)
        for name in [name for name in imputers if name in results]:
            of_row = estimates.get(pattern, {}).get(name, {})
            numbers = [
                _number(m, imputation_metric(results, name, m.name), of_row.get(m.name))
                for m in IMPUTATION_METRICS.values()
            ]
            errors = [of_site.get(pattern, {}).get(name, math.nan) for of_site in by_site.values()]
            rows.append([label, imputer_label(name), *numbers, _range(errors, IMPUTATION_METRICS["rmse"])])
    of_all = [e for rows in estimates.values() for of_row in rows.values() for e in of_row.values()]
    columns = ["missingness", "imputer", *(metric.label for metric in IMPUTATION_METRICS.values())]
    text = (
        "Scores are on samples of test windows that were hidden from all imputers. Errors are in standard "
        f"deviations of the modality.{_note_of_intervals(of_all)} {expect_coverage(run)}"
    ).strip()
    table = Table("", [*columns, "RMSE, lowest to highest site"], rows)
    return ["## Imputation", "", text, "", table.to_markdown()]


def task_results(run: RunRecord) -> list[str]:
    if not run.task:
        return []
    metrics = [m for m in TASK_METRICS.values() if any(m.name in values for values in run.task.values())]
    estimates = {method: task_estimates(run, method) for method in run.task}
    rows: list[list[Value]] = []
    for method, values in run.task.items():
        of_method = estimates[method]
        numbers = [_number(m, values.get(m.name, math.nan), of_method.get(m.name)) for m in metrics]
        rows.append([method_title(method), *numbers])
        by_site = site_metrics(run, method).values()
        ranges = [_range([of_site.get(m.name, math.nan) for of_site in by_site], m) for m in metrics]
        if any(text != DASH for text in ranges):
            rows.append([f"{method}, lowest to highest site", *ranges])
    of_all = [estimate for of_method in estimates.values() for estimate in of_method.values()]
    text = f"Scores are on test windows of all sites together.{_note_of_intervals(of_all)}"
    table = Table("", ["method", *(metric.label for metric in metrics)], rows)
    return [f"## {run.schema.task_kind.title}", "", text, "", table.to_markdown(), *_labels(run)]


def _labels(run: RunRecord) -> list[str]:
    """Tabulate the results of each label of the run's method, and say how well it is calibrated."""
    if run.config["method"] not in run.scored_methods:
        return []
    sums = sum_over_sites(run.sums[f"task-{run.config['method']}"])
    if "errors" in sums:
        table = _labels_of_regression(run, sums)
        return ["", "### Each label", "", table.to_markdown()] if len(run.schema.labels) > 1 else []
    if "task" not in sums:
        return []
    errors = [calibration_error(*histograms(sums, k)) for k in range(len(run.schema.labels))]
    finite = [error for error in errors if math.isfinite(error)]
    mean = CALIBRATION_ERROR.format(float(np.mean(finite))) if finite else DASH
    return [
        "",
        "### Each label",
        "",
        f"Test windows of the method `{run.config['method']}`.",
        "",
        _labels_of_classification(run, sums).to_markdown(),
        "",
        "### Calibration",
        "",
        f"The mean calibration error over the labels is {mean}: the mean distance between a predicted "
        "probability and the observed rate, in ten bins of equal width, weighted by windows. The prevalence "
        "of another hospital changes it.",
        "",
        "### Operating threshold",
        "",
        explain_thresholds(run, run.config["method"]),
        "",
        replace(operating_points_table(run, run.config["method"]), title="").to_markdown(),
        "",
        "Choose a threshold for the intended use on windows of the hospital that will use the model, other "
        "than its test windows: decide which sensitivity or which PPV is needed, and take the threshold that "
        "reaches it. `condi predict` writes the probabilities.",
    ]


def _labels_of_classification(run: RunRecord, sums: Arrays) -> Table:
    metrics = (TASK_METRICS["auroc"], TASK_METRICS["auprc"], CALIBRATION_ERROR)
    rows: list[list[Value]] = []
    for k, label in enumerate(run.schema.labels):
        positives, negatives = pair = histograms(sums, k)
        values = (auroc(*pair), average_precision(*pair), calibration_error(*pair))
        counts = (positives.sum(), negatives.sum())
        rows.append([mark_label(label, sums, k), *counts, *map(metric_cell, metrics, values)])
    columns = ["label", "windows with it", "without it", *(metric.label for metric in metrics)]
    return Table("", columns, rows)


def _labels_of_regression(run: RunRecord, sums: Arrays) -> Table:
    metrics = metrics_of_task(run.schema.task)
    rows: list[list[Value]] = []
    for k, label in enumerate(run.schema.labels):
        of_label = run.task_metrics({"errors": sums["errors"][k : k + 1]})
        rows.append([label, sums["errors"][k, 0], *(metric_cell(m, of_label[m.name]) for m in metrics)])
    return Table("", ["label", "windows", *(metric.label for metric in metrics)], rows)


def subgroup_results(run: RunRecord) -> list[str]:
    tables = [f"\n{table.to_markdown()}" for table in subgroup_tables(run, [run.config["method"]])]
    return ["## Subgroups", "", explanation(run), *tables] if tables else []


def _range(values: list[float], metric: Metric) -> str:
    finite = [value for value in values if math.isfinite(value)]
    return f"{metric.format(min(finite))} to {metric.format(max(finite))}" if len(finite) > 1 else DASH


def _number(metric: Metric, value: float, estimate: Estimate | None) -> Cell:
    """Return a number with its 95 % interval, where sites sent replicates of their test patients."""
    return estimate_cell(metric, replace(estimate or NO_ESTIMATE, value=value))


def _note_of_intervals(estimates: Iterable[Estimate]) -> str:
    if any(estimate.interval for estimate in estimates):
        return " In parentheses are 95 % intervals over test patients."
    return ""
