"""Comparison of runs: their settings, results and costs."""

from __future__ import annotations

import json
import math

from condi_core.evaluation.catalogue import TASK_METRICS, imputer_label, missingness_label
from data_partitions.table import Cell, Table, Value
from server_app.artifacts.run_record import RunRecord
from server_app.report.configuration import setting_text
from server_app.report.figures import Series, bars, lines
from server_app.report.imputation import imputers_in_order
from server_app.report.markup import figure_row, page, section, size

IGNORED_SETTINGS = ("name", "output", "resume")  # do not change what a run computes

Rows = dict[str, list]  # name of a row → its value in each run, None where a run has none


def run_names(runs: list[RunRecord]) -> list[str]:
    """Name each run, with its folder where several have the same name."""
    short = [run.name for run in runs]
    full = [f"{run.path.resolve().parent.name}/{run.name}" for run in runs]
    names = [a if short.count(a) == 1 else b for a, b in zip(short, full, strict=True)]
    return [n if names.count(n) == 1 else f"{n} ({i + 1})" for i, n in enumerate(names)]


def settings(runs: list[RunRecord]) -> Rows:
    """Return settings, data set, sites and code where the runs differ in them."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in IGNORED_SETTINGS)
    rows: Rows = {key: [run.config.get(key) for run in runs] for key in keys}
    rows["data set"] = [run.schema.dataset if run.sites else None for run in runs]
    rows["sites"] = [", ".join(run.sites) or None for run in runs]
    rows["code"] = [run.versions.get("code") for run in runs]
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def results(runs: list[RunRecord]) -> Rows:
    """Return the results on test windows: RMSE by pattern and imputer, and task metrics by method."""
    rows: Rows = {}
    for i, run in enumerate(runs):
        for pattern, imputers in run.imputation.items():
            for imputer in imputers_in_order({pattern: imputers}):
                name = f"RMSE {missingness_label(pattern)}, {imputer_label(imputer)}"
                rows.setdefault(name, [None] * len(runs))[i] = imputers[imputer]["rmse"]
        for key, metric in TASK_METRICS.items():
            for method, metrics in run.task.items():
                if key in metrics:
                    rows.setdefault(f"{metric.label}, {method}", [None] * len(runs))[i] = metrics[key]
    return rows


def costs(runs: list[RunRecord]) -> Rows:
    """Return rounds, seconds, bytes and parameters."""
    rows: Rows = {
        "rounds": [len(run.history) for run in runs],
        "seconds": [sum(line.seconds for line in run.history) for run in runs],
        "bytes to sites": [sum(line.bytes_down for line in run.history) for run in runs],
        "bytes from sites": [sum(line.bytes_up for line in run.history) for run in runs],
    }
    for i, run in enumerate(runs):
        for model, count in run.parameters().items():
            rows.setdefault(f"parameters, {model}", [None] * len(runs))[i] = count
    return rows


def as_json(runs: list[RunRecord]) -> str:
    """Write everything as JSON for scripts: runs by name in the given order, NaN as null."""
    parts = {"settings": settings(runs), "results": results(runs), "cost": costs(runs)}
    content = {
        name: {"path": str(run.path), "finished": run.result is not None}
        | {part: {key: _json_value(row[i]) for key, row in rows.items()} for part, rows in parts.items()}
        for i, (name, run) in enumerate(zip(run_names(runs), runs, strict=True))
    }
    return json.dumps(content, indent=1)


def comparison_text(runs: list[RunRecord], width: int) -> str:
    """Write three tables for the terminal, `width` characters wide."""
    return "\n\n".join(table.to_text(width) for table in _tables(runs))


def comparison_page(runs: list[RunRecord]) -> str:
    """Write the same tables as a page, with figures."""
    differing, scores, cost = (table.to_html() for table in _tables(runs))
    unfinished = [name for name, run in zip(run_names(runs), runs, strict=True) if run.result is None]
    summary = f"{len(runs)} runs." + (f" Not finished: {', '.join(unfinished)}." if unfinished else "")
    sections = [
        section("Settings", differing),
        section("Test windows", figure_row(*_figures(runs)), scores),
        section("Validation", figure_row(*_curves(runs))),
        section("Cost", cost),
    ]
    return page("Comparison of runs", summary, sections)


def _json_value(value: str | float | None) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tables(runs: list[RunRecord]) -> list[Table]:
    parts = {
        "Settings that differ": settings(runs),
        "Results on test windows": results(runs),
        "Cost": costs(runs),
    }
    columns = ["", *run_names(runs)]
    return [
        Table(title, columns, [[key, *(_cell(key, value) for value in row)] for key, row in rows.items()])
        for title, rows in parts.items()
    ]


def _cell(key: str, value: str | float | None) -> Value:
    if isinstance(value, bool | str):
        return setting_text(value)
    if value is not None and key.startswith("bytes"):
        return size(value)
    return Cell(f"{value:.1f}", value) if value is not None and key == "seconds" else value


def _figures(runs: list[RunRecord]) -> list[str]:
    patterns = list(dict.fromkeys(pattern for run in runs for pattern in run.imputation))
    methods = list(dict.fromkeys(method for run in runs for method in run.task))
    named = dict(zip(run_names(runs), runs, strict=True))
    errors = {
        name: [run.imputation.get(p, {}).get("condi", {}).get("rmse", math.nan) for p in patterns]
        for name, run in named.items()
    }
    scores = [metrics for run in runs for metrics in run.task.values()]
    metric = next(
        (m for m in TASK_METRICS.values() if any(m.name in metrics for metrics in scores)),
        next(iter(TASK_METRICS.values())),
    )
    by_method = {
        name: [run.task.get(method, {}).get(metric.name, math.nan) for method in methods]
        for name, run in named.items()
    }
    labels = [missingness_label(pattern) for pattern in patterns]
    return [
        bars("Imputation RMSE on test windows", labels, errors, "RMSE"),
        bars(f"{metric.label} on test windows, by method", methods, by_method, metric.label),
    ]


def _curves(runs: list[RunRecord]) -> list[str]:
    """Draw the validation score of each phase, with a line for each run."""
    figures = []
    for phase in dict.fromkeys(phase for run in runs for phase in run.phases):
        series = [
            Series(
                name,
                [(line.round, line.metrics.get("score", math.nan)) for line in run.phases.get(phase, [])],
            )
            for name, run in zip(run_names(runs), runs, strict=True)
        ]
        label = "RMSE" if phase.startswith("imputer") else "loss"
        figures.append(lines(f"{phase}: validation {label}", series, "round", label, integers=True))
    return figures
