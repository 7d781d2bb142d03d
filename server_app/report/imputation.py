"""How well hidden cells of test windows were told, beside the naive rows on the same cells."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    IMPUTER_ROWS,
    imputer_label,
    missingness_label,
)
from data_partitions.table import Table
from server_app.artifacts.run_record import RunRecord
from server_app.report.figures import bars
from server_app.report.markup import details, figure_row, paragraph, percent, section, side_by_side


def imputation(run: RunRecord) -> tuple[str, str]:
    kinds = run.imputation
    if not kinds:
        why = "No imputer has been scored on test windows: the method has none, or the run is not that far."
        return section("Imputation", paragraph(why))
    methods = [m for m in (*IMPUTER_ROWS, *_others(kinds)) if any(m in rows for rows in kinds.values())]
    errors = {imputer_label(m): [_of(rows, m, "rmse") for rows in kinds.values()] for m in methods}
    return section(
        "Imputation",
        paragraph(
            "Cells of test windows that were measured and then hidden from every row alike, in three kinds "
            "of holes; errors in standard deviations of the modality. CRPS is the mean quantile loss of the "
            "draws at 19 levels; for a row of single values it is their MAE. The first rows are naive."
        ),
        figure_row(
            bars("RMSE on hidden cells of test windows", list(map(missingness_label, kinds)), errors, "RMSE")
        ),
        side_by_side(*(_table(kind, rows, methods) for kind, rows in kinds.items())),
        _band(run),
        details(
            "RMSE of each modality", *(_by_modality(run, kind, rows, methods) for kind, rows in kinds.items())
        ),
    )


def _others(kinds: dict) -> list[str]:
    return [m for m in dict.fromkeys(m for rows in kinds.values() for m in rows) if m not in IMPUTER_ROWS]


def _of(rows: dict, method: str, key: str) -> float:
    row = IMPUTER_ROWS.get(method)
    if IMPUTATION_METRICS[key].of_draws and not (row and row.draws):
        return math.nan
    return rows.get(method, {}).get(key, math.nan)


def _table(kind: str, rows: dict, methods: list[str]) -> str:
    told = [
        [
            imputer_label(m),
            *(_of(rows, m, key) for key in IMPUTATION_METRICS if key != "coverage"),
            percent(_of(rows, m, "coverage")),
        ]
        for m in methods
    ]
    return Table(
        f"Test windows, {missingness_label(kind)}",
        ["", *(m.label for m in IMPUTATION_METRICS.values())],
        told,
    ).to_html()


def _band(run: RunRecord) -> str:
    n = run.config.get("imputer.samples", 0)
    if not 1 < n < 19:
        return ""
    return paragraph(
        f"The band of {n} draws ends with them: {(n - 1) / (n + 1):.0%} inside it would be right."
    )


def _by_modality(run: RunRecord, kind: str, rows: dict, methods: list[str]) -> str:
    names = run.schema.names if run.sites else ()
    told = [[imputer_label(m), *rows[m].get("rmse by modality", [])] for m in methods if m in rows]
    told = [row for row in told if len(row) == len(names) + 1]
    return Table(f"RMSE of each modality, {missingness_label(kind)}", ["", *names], told).to_html()
