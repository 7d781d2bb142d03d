"""The tables that a run prints when it ends."""

from __future__ import annotations

import textwrap
from pathlib import Path

from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import metrics_of_task, missingness_label
from condi_core.evaluation.imputers import imputer_label
from condi_core.windows import Schema
from data_partitions.table import Cell, Table, Value
from server_app.report.classification import method_title
from server_app.report.imputation import expect_coverage_of, imputers_in_order
from server_app.report.markup import percent_text


def summary_table(result: dict, schema: Schema, config: RunConfig, path: Path) -> str:
    """Write the tables at the end of a run, 80 characters wide.

    Parameters
    ----------
    result : dict
        The content of result.json.
    schema : Schema
    config : RunConfig
    path : Path
        The run directory.
    """
    parts = []
    if result["imputation"]:
        parts.append(_imputation(result["imputation"], config.imputer.samples).to_text())
    if result["task"]:
        parts.append(_task(result["task"], schema).to_text())
    if privacy := result.get("privacy"):
        text = (
            f"Differential privacy of a site: epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:g} "
            f"({privacy['averages']} averages, with noise of {privacy['noise-multiplier']:g} times the "
            "clipping norm). This holds for the weights alone: sums for standardisation, losses and scores, "
            "those of these tables included, have no noise."
        )
        parts.append(textwrap.fill(text, 80))
    if privacy := result.get("patient-privacy"):
        text = (
            f"Differential privacy of patients: epsilon {privacy['epsilon']:.3g} at delta "
            f"{privacy['delta']:g}, of every site for its training patients, if no round was repeated. "
            "Scores, those of these tables included, are of other patients and have no noise."
        )
        parts.append(textwrap.fill(text, 80))
    missing = [
        f"not in the test scores of {phase}: {site} ({reason})"
        for phase, replies in result["answered"].items()
        for site, reason in replies["failures"].items()
    ]
    if missing:
        parts.append("\n".join(missing))
    return "\n\n".join(["", *parts, f"Artefacts: {path}"])


def _imputation(results: dict[str, dict[str, dict]], draws: int) -> Table:
    rows: list[list[Value]] = []
    for name in imputers_in_order(results):
        metrics = [methods[name] for methods in results.values() if name in methods]
        if len(metrics) == len(results):
            cells = (Cell(f"{m['rmse']:.3f} ({m['crps']:.3f})", m["rmse"]) for m in metrics)
            rows.append([imputer_label(name), *cells])
    note = ""
    coverage = [
        metrics["coverage"]
        for methods in results.values()
        for name, metrics in methods.items()
        if name.endswith(", draws")
    ]
    if coverage:
        rows.append(["in 90 % interval", *(Cell(percent_text(c, 0), c) for c in coverage)])
        note = expect_coverage_of(draws)
    title = "Imputation of test windows: RMSE (and CRPS) in standard deviations"
    return Table(title, ["", *map(missingness_label, results)], rows, note)


def _task(results: dict[str, dict], schema: Schema) -> Table:
    metrics = metrics_of_task(schema.task)
    rows: list[list[Value]] = [
        [
            method_title(method),
            *(Cell(m.format(values[m.name]), values[m.name]) for m in metrics),
        ]
        for method, values in results.items()
    ]
    title = f"{schema.task_kind.title} of test windows ({', '.join(schema.labels)}; {schema.task})"
    note = "kappa with linear weights" if schema.task == "ordinal" else ""
    if schema.label_unit:
        note = f"MAE and RMSE in {schema.label_unit}"
    return Table(title, ["", *(metric.column for metric in metrics)], rows, note)
