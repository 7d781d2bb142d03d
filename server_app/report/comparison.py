"""Runs side by side: what they were told to do, what came of it, what it cost."""

from __future__ import annotations

import json
import math

from condi_core.evaluation.catalogue import TASK_METRICS, imputer_label, missingness_label
from data_partitions.table import Cell, Table, Value
from server_app.artifacts.run_record import RunRecord
from server_app.report.configuration import shown
from server_app.report.figures import Series, bars, lines
from server_app.report.markup import figure_row, page, section, size

PLACE = ("name", "output", "resume")  # settings in which runs differ without being different

Rows = dict[str, list]  # name of a row → its value in each run, None where it has none


def names(runs: list[RunRecord]) -> list[str]:
    """One name a run, with its folder where two are called the same."""
    plain = [run.name for run in runs]
    full = [f"{run.path.resolve().parent.name}/{run.name}" for run in runs]
    named = [one if plain.count(one) == 1 else two for one, two in zip(plain, full, strict=True)]
    return [n if named.count(n) == 1 else f"{n} ({i + 1})" for i, n in enumerate(named)]


def settings(runs: list[RunRecord]) -> Rows:
    """Settings that are not the same in all runs, and the data and code where these differ."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key not in PLACE)
    found = {key: [run.config.get(key) for run in runs] for key in keys}
    found["data set"] = [run.schema.dataset if run.sites else None for run in runs]
    found["who took part"] = [", ".join(run.sites) or None for run in runs]
    found["code"] = [run.versions.get("code") for run in runs]
    return {key: values for key, values in found.items() if any(v != values[0] for v in values)}


def results(runs: list[RunRecord]) -> Rows:
    """Imputation (RMSE by kind of holes and row) and task metrics (by metric and method) on test windows."""
    rows: Rows = {}
    for i, run in enumerate(runs):
        for kind, methods in run.imputation.items():
            for method, found in methods.items():
                name = f"RMSE {missingness_label(kind)}, {imputer_label(method)}"
                rows.setdefault(name, [None] * len(runs))[i] = found["rmse"]
        for key, metric in TASK_METRICS.items():
            for method, found in run.task.items():
                if key in found:
                    rows.setdefault(f"{metric.label}, {method}", [None] * len(runs))[i] = found[key]
    return rows


def costs(runs: list[RunRecord]) -> Rows:
    """Seconds, bytes, rounds and parameters."""
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
    """All of it for scripts: runs by name in the order given, NaN as null."""
    parts = {"settings": settings(runs), "results": results(runs), "cost": costs(runs)}
    told = {
        name: {"path": str(run.path), "finished": run.result is not None}
        | {part: {key: _plain(row[i]) for key, row in rows.items()} for part, rows in parts.items()}
        for i, (name, run) in enumerate(zip(names(runs), runs, strict=True))
    }
    return json.dumps(told, indent=1)


def _plain(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def comparison_text(runs: list[RunRecord], width: int) -> str:
    """Write three tables for the terminal, `width` characters wide."""
    return "\n\n".join(table.to_text(width) for table in _tables(runs))


def comparison_page(runs: list[RunRecord]) -> str:
    """Write the same tables as a page, with figures."""
    differing, scores, cost = (table.to_html() for table in _tables(runs))
    unfinished = [name for name, run in zip(names(runs), runs, strict=True) if run.result is None]
    summary = f"{len(runs)} runs." + (f" Not finished: {', '.join(unfinished)}." if unfinished else "")
    sections = [
        section("Settings", differing),
        section("Test windows", figure_row(*_figures(runs)), scores),
        section("Validation", figure_row(*_curves(runs))),
        section("Cost", cost),
    ]
    return page("Comparison of runs", summary, sections)


def _tables(runs: list[RunRecord]) -> list[Table]:
    parts = {
        "Settings that differ": settings(runs),
        "Results on test windows": results(runs),
        "Cost": costs(runs),
    }
    return [
        Table(title, ["", *names(runs)], [[key, *(_cell(key, v) for v in row)] for key, row in rows.items()])
        for title, rows in parts.items()
    ]


def _cell(key: str, value: str | float | None) -> Value:
    if isinstance(value, bool | str):
        return shown(value)
    if value is not None and key.startswith("bytes"):
        return size(value)
    return Cell(f"{value:.1f}", value) if value is not None and key == "seconds" else value


def _figures(runs: list[RunRecord]) -> list[str]:
    kinds = dict.fromkeys(kind for run in runs for kind in run.imputation)
    methods = dict.fromkeys(m for run in runs for m in run.task)

    def of(found: dict, *keys: str) -> float:
        for key in keys:
            found = found.get(key, {})
        return math.nan if found == {} else found

    errors = {
        name: [of(run.imputation, kind, "condi", "rmse") for kind in kinds]
        for name, run in zip(names(runs), runs, strict=True)
    }
    areas = {
        name: [of(run.task, method, "auroc") for method in methods]
        for name, run in zip(names(runs), runs, strict=True)
    }
    return [
        bars("RMSE of the imputer on test windows", list(map(missingness_label, kinds)), errors, "RMSE"),
        bars("AUROC on test windows, by method", list(methods), areas, "AUROC"),
    ]


def _curves(runs: list[RunRecord]) -> list[str]:
    """Validation score of each phase, a line for each run."""
    figures = []
    for phase in dict.fromkeys(phase for run in runs for phase in run.phases):
        series = [
            Series(
                name,
                [(line.round, line.metrics.get("score", math.nan)) for line in run.phases.get(phase, [])],
            )
            for name, run in zip(names(runs), runs, strict=True)
        ]
        label = "RMSE" if phase.startswith("imputer") else "loss"
        figures.append(lines(f"{phase}: validation {label}", series, "round", label, whole=True))
    return figures
