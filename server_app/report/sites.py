"""The section of site results: test scores of each site, and the gain of each over local training."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    IMPUTER_ROWS,
    TASK_METRICS,
    Metric,
    imputer_label,
    missingness_label,
    primary_metric,
)
from data_partitions.table import Table, Value
from server_app.artifacts import scores
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.report.figures import bars, horizontal_bars
from server_app.report.markup import (
    Section,
    figure_row,
    heading,
    metric_cell,
    paragraph,
    section,
    side_by_side,
    site_label,
)

TITLE = "Results of each site"
LOCAL = "local"  # the method in which each site trains its own model


def by_site(run: RunRecord) -> Section:
    if not run.sums:
        return section(TITLE, paragraph("The run has no test scores of single sites yet."))
    gain = [heading("Gain over local training"), _gain(run)] if run.schema.labels else []
    return section(TITLE, _imputation(run), _classification(run), *gain)


def site_rmse(run: RunRecord) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{site: {missingness pattern: {imputer: RMSE}}}` of every imputer."""
    results: dict[str, dict[str, dict]] = {}
    for scope, suffix in PHASE_SUFFIX.items():
        for site, sums in run.sums.get(f"imputer{suffix}", {}).items():
            rows = scores.imputation_rows(sums, run.schema)
            scores.add_imputation(results.setdefault(site, {}), rows, scope)
    return {
        site: {
            pattern: {imputer: metrics["rmse"] for imputer, metrics in rows.items()}
            for pattern, rows in patterns.items()
        }
        for site, patterns in results.items()
    }


def site_metrics(run: RunRecord, method: str) -> dict[str, dict[str, float]]:
    """Return `{site: metrics}` of a method's classifier on the test windows of each site."""
    return {site: run.task_metrics(sums) for site, sums in run.sums.get(f"task-{method}", {}).items()}


def _imputation(run: RunRecord) -> str:
    errors = site_rmse(run)
    patterns = dict.fromkeys(pattern for of_site in errors.values() for pattern in of_site)
    return side_by_side(*(_imputation_table(errors, pattern) for pattern in patterns))


def _imputation_table(errors: dict[str, dict[str, dict[str, float]]], pattern: str) -> str:
    by_site = {site: of_site.get(pattern, {}) for site, of_site in errors.items()}
    imputers = [
        name
        for name, row in IMPUTER_ROWS.items()
        if name != "mean" and not row.draws and any(name in rmse for rmse in by_site.values())
    ]
    rows: list[list[Value]] = [
        [site_label(site), *(metric_cell(IMPUTATION_METRICS["rmse"], rmse.get(name)) for name in imputers)]
        for site, rmse in by_site.items()
    ]
    title = f"Imputation RMSE on the test windows of each site, {missingness_label(pattern)}"
    return Table(title, ["site", *map(imputer_label, imputers)], rows).to_html()


def _classification(run: RunRecord) -> str:
    of_sites = [m for m in run.scored_methods if run.sums[f"task-{m}"].keys() & run.sites.keys()]
    methods = [method for method in run.task if method in of_sites]
    if not methods:
        return ""
    results = {method: site_metrics(run, method) for method in methods}
    keys = [
        key
        for key in TASK_METRICS
        if any(key in metrics for of_site in results.values() for metrics in of_site.values())
    ]
    rows: list[list[Value]] = []
    for site in run.sites:
        num_windows = max(_num_windows(run, method, site) for method in methods)
        values = [
            metric_cell(TASK_METRICS[key], results[method].get(site, {}).get(key))
            for key in keys
            for method in methods
        ]
        rows.append([site, num_windows, *values])
    columns = [f"{TASK_METRICS[key].label}, {method}" for key in keys for method in methods]
    metric = primary_metric(run.schema.task)
    scores = {m: [results[m].get(site, {}).get(metric.name, math.nan) for site in run.sites] for m in methods}
    title = f"{run.schema.task_kind.title} of the test windows of each site"
    return (
        figure_row(
            bars(f"{metric.label} on the test windows of each site", list(run.sites), scores, metric.label)
        )
        + Table(title, ["site", "windows", *columns], rows).to_html()
    )


def _num_windows(run: RunRecord, method: str, site: str) -> float:
    sums = run.sums[f"task-{method}"].get(site)
    return 0.0 if sums is None else run.schema.task_kind.num_windows(sums)


def _gain(run: RunRecord) -> str:
    method = run.config["method"]
    federated, local = site_metrics(run, method), site_metrics(run, LOCAL)
    if not local or not federated or method == LOCAL:
        return paragraph(
            "The gain of each site over local training is known when a run trains both, for example with "
            'compare-with="mask,local".'
        )
    keys = [key for key in TASK_METRICS if any(key in metrics for metrics in local.values())]
    names = [site for site in run.sites if site in federated and site in local]
    metric = primary_metric(run.schema.task)
    rows: list[list[Value]] = []
    gains = {}
    for site in names:
        row: list[Value] = [site]
        for key in keys:
            alone, together = local[site].get(key, math.nan), federated[site].get(key, math.nan)
            values = (alone, together, _improvement(TASK_METRICS[key], together, alone))
            row += [metric_cell(TASK_METRICS[key], value) for value in values]
        rows.append(row)
        together, alone = (metrics[site].get(metric.name, math.nan) for metrics in (federated, local))
        gains[site] = _improvement(metric, together, alone)
    columns = [f"{TASK_METRICS[k].label}, {kind}" for k in keys for kind in ("local", method, "gain")]
    title = f"{method} compared with local training, test windows of each site"
    return (
        figure_row(horizontal_bars(f"Gain in {metric.label} over local training", gains, metric.label))
        + Table(title, ["site", *columns], rows).to_html()
    )


def _improvement(metric: Metric, value: float, before: float) -> float:
    """Return the difference, positive where the value is better."""
    return before - value if metric.higher_is_better is False else value - before
