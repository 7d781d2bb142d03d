"""The section of imputation: errors on hidden samples of test windows, compared with naive baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, missingness_label
from condi_core.evaluation.imputers import IMPUTER_ROWS, imputer_label
from data_partitions.table import Table, Value
from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_estimates import estimates_by_row
from server_app.artifacts.run_record import RunRecord
from server_app.report.figures import bars
from server_app.report.markup import (
    Section,
    details,
    estimate_cell,
    figure_row,
    meaning_list,
    metric_cell,
    paragraph,
    percent_text,
    section,
    side_by_side,
)

IMPUTER_MEANINGS = {
    "mean": "the mean of the modality everywhere; a naive baseline",
    "linear": "a straight line between the nearest measured samples; a naive baseline",
    "estimate": "conditional mean under the relation between modalities, without a network",
    "condi": "one value from the diffusion model, made to have a small squared error",
    "condi, draws": "middle of several draws from the diffusion model, which also give the interval",
    "local": "as CondI, but each site trains its own imputer",
    "pooled": "as CondI, but trained on the data of all sites in one place",
}


def imputation(run: RunRecord) -> Section:
    results = run.imputation
    if not results:
        reason = (
            "No imputer has been scored on test windows: the method has none, or the run is not finished."
        )
        return section("Imputation", paragraph(reason))
    imputers = imputers_in_order(results)
    estimates = estimates_by_row(run) if run.sites else {}
    errors = {
        imputer_label(name): [imputation_metric(rows, name, "rmse") for rows in results.values()]
        for name in imputers
    }
    patterns = [missingness_label(pattern) for pattern in results]
    return section(
        "Imputation",
        paragraph(
            "Measured samples of the test windows were hidden in several patterns, the same samples for "
            "every imputer, and then imputed. Errors are in standard deviations of the modality, and smaller "
            "is better."
        ),
        figure_row(bars("Imputation RMSE on hidden samples of test windows", patterns, errors, "RMSE")),
        side_by_side(
            *(
                _table(pattern, rows, imputers, estimates.get(pattern, {}))
                for pattern, rows in results.items()
            )
        ),
        paragraph(note) if (note := expect_coverage(run)) else "",
        meaning_list(_meanings()),
        details(
            "RMSE of each modality",
            side_by_side(*(_by_modality(run, pattern, rows, imputers) for pattern, rows in results.items())),
        ),
    )


def imputers_in_order(results: dict[str, dict]) -> list[str]:
    """List the imputers of `{missingness pattern: {imputer: metrics}}`, those of the catalogue first."""
    names = dict.fromkeys(name for rows in results.values() for name in rows)
    return [n for n in IMPUTER_ROWS if n in names] + [n for n in names if n not in IMPUTER_ROWS]


def imputation_metric(rows: dict, imputer: str, key: str) -> float:
    """Return a metric of an imputer; NaN where it has none, such as the interval of a point estimate."""
    row = IMPUTER_ROWS.get(imputer)
    if IMPUTATION_METRICS[key].of_draws and not (row and row.draws):
        return math.nan
    return rows.get(imputer, {}).get(key, math.nan)


def _table(
    pattern: str, rows: dict, imputers: list[str], estimates: Mapping[str, Mapping[str, Estimate]]
) -> str:
    cells: list[list[Value]] = []
    for imputer in imputers:
        values = {key: imputation_metric(rows, imputer, key) for key in IMPUTATION_METRICS}
        of_imputer = estimates.get(imputer, {})
        numbers = [
            estimate_cell(IMPUTATION_METRICS[key], replace(of_imputer.get(key, Estimate(value)), value=value))
            for key, value in values.items()
        ]
        cells.append([imputer_label(imputer), *numbers])
    columns = ["imputer", *(metric.label for metric in IMPUTATION_METRICS.values())]
    title = f"Test windows, {missingness_label(pattern)}"
    return Table(title, columns, cells, meanings=_meanings()).to_html()


def _meanings() -> dict[str, str]:
    """Return what the names of metrics and imputers stand for."""
    metrics = {metric.label: metric.meaning for metric in IMPUTATION_METRICS.values()}
    return metrics | {imputer_label(name): meaning for name, meaning in IMPUTER_MEANINGS.items()}


def expect_coverage(run: RunRecord) -> str:
    """Say which share of the hidden samples the run's draws have in their 90 % interval, if they are few."""
    return expect_coverage_of(run.config.get("imputer.samples", 0))


def expect_coverage_of(draws: int) -> str:
    """Say which share of the hidden samples few draws have in their 90 % interval; "" with enough draws."""
    if not 1 < draws < 19:
        return ""
    return (
        f"With {draws} draws, the 90 % interval ends at the lowest and the highest draw, so that "
        f"{percent_text((draws - 1) / (draws + 1), 0)} of the samples are expected inside it."
    )


def _by_modality(run: RunRecord, pattern: str, rows: dict, imputers: list[str]) -> str:
    names = run.schema.names if run.sites else ()
    errors = {i: rows[i].get("rmse by modality", []) for i in imputers if i in rows}
    errors = {i: of_imputer for i, of_imputer in errors.items() if len(of_imputer) == len(names)}
    cells: list[list[Value]] = [
        [name, *(metric_cell(IMPUTATION_METRICS["rmse"], of_imputer[m]) for of_imputer in errors.values())]
        for m, name in enumerate(names)
    ]
    title = f"RMSE of each modality, {missingness_label(pattern)}"
    columns = ["modality", *map(imputer_label, errors)]
    return Table(title, columns, cells, meanings=_meanings()).to_html() if errors else ""
