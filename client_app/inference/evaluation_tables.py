"""The tables that `condi evaluate` prints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from condi_core.evaluation.catalogue import CALIBRATION_ERROR, TASK_METRICS, TaskMetric, missingness_label
from condi_core.evaluation.imputers import imputer_label
from data_partitions.table import Cell, Table, Value


def evaluation_tables(evaluation: dict[str, Any]) -> list[Table]:
    """Lay out what `evaluate_run` returns."""
    tables, imputation = [], evaluation["imputation"]
    header = f"{evaluation['site']}: {evaluation['windows']} windows of {evaluation['patients']} patients"
    if evaluation["task"] and evaluation["labelled"] < evaluation["windows"]:
        header += f", {evaluation['labelled']} of them with labels"
    if imputation:
        rows: list[list[Value]] = []
        for method in next(iter(imputation.values())):
            errors = [methods[method]["rmse"] for methods in imputation.values()]
            rows.append([imputer_label(method), *map(_cell, errors)])
        title = f"{header}\nRMSE of imputation in standard deviations"
        tables.append(Table(title, ["", *map(missingness_label, imputation)], rows))
    if evaluation["task"]:
        tables.append(_task_table(evaluation["task"]))
    for method, covariates in evaluation["subgroups"].items():
        tables += _subgroup_tables(method, covariates, evaluation["task"][method])
    return tables


def _task_table(results: dict[str, dict[str, Any]]) -> Table:
    catalogue = list(_metrics_in(next(iter(results.values()))))
    rows: list[list[Value]] = [
        [method, *(_cell(values[m.name]) for m in catalogue)] for method, values in results.items()
    ]
    title = "Task; calib.: expected calibration error" if CALIBRATION_ERROR in catalogue else "Task"
    return Table(title, ["", *(metric.column for metric in catalogue)], rows)


def _subgroup_tables(
    method: str, covariates: dict[str, dict[str, Any]], of_all: dict[str, Any]
) -> Iterator[Table]:
    """Yield a table of each covariate, with a row per subgroup that has windows."""
    catalogue = [metric for metric in _metrics_in(of_all) if metric is not CALIBRATION_ERROR]
    for covariate, groups in covariates.items():
        rows: list[list[Value]] = []
        for name, group in groups.items():
            metrics = group["metrics"]
            if group["windows"]:
                cells = [_cell(metrics[m.name]) if metrics else None for m in catalogue]
                rows.append([name, group["windows"], group["patients"], *cells])
        is_withheld = any(group["metrics"] is None for group in groups.values())
        note = "Dashes: fewer patients than privacy.smallest-count." if is_withheld else ""
        columns = [covariate, "windows", "patients", *(metric.column for metric in catalogue)]
        yield Table(f"{method} by {covariate}", columns, rows, note)


def _metrics_in(results: dict[str, Any]) -> Iterator[TaskMetric]:
    return (metric for metric in (*TASK_METRICS.values(), CALIBRATION_ERROR) if metric.name in results)


def _cell(metric: dict[str, Any]) -> Cell | None:
    if math.isnan(metric["value"]):
        return None
    if metric["interval"] is None:
        return Cell(f"{metric['value']:.3f}", metric["value"])
    low, high = metric["interval"]
    return Cell(f"{metric['value']:.3f}\n{low:.3f}–{high:.3f}", metric["value"])
