"""The section of site results: test scores of every method and imputer at each site."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    TASK_METRICS,
    missingness_label,
    primary_metric,
)
from condi_core.evaluation.imputers import IMPUTER_ROWS, imputer_label
from data_partitions.table import Table, Value
from server_app.artifacts.run_record import RunRecord
from server_app.report.figures import bars
from server_app.report.markup import (
    Section,
    figure_row,
    folded_section,
    metric_cell,
    paragraph,
    side_by_side,
    site_label,
)
from server_app.report.site_scores import num_scored_windows, site_metrics, site_rmse
from server_app.report.small_groups import MARK, OF_SITES, has_few_patients, why_not_ranked

TITLE = "Results of each site"
MAX_BARS = 30  # groups of a figure


def by_site(run: RunRecord) -> Section:
    """Return the folded section with the test scores of all methods at each site."""
    if not run.sums:
        return folded_section(TITLE, paragraph("The run has no test scores of single sites yet."))
    is_marked = any(why_not_ranked(run, site) for site in run.sites)
    explanation = paragraph(OF_SITES) if is_marked else ""
    return folded_section(TITLE, explanation, _imputation(run), _classification(run))


def _imputation(run: RunRecord) -> str:
    errors = site_rmse(run)
    patterns = dict.fromkeys(pattern for of_site in errors.values() for pattern in of_site)
    return side_by_side(*(_imputation_table(run, errors, pattern) for pattern in patterns))


def _imputation_table(run: RunRecord, errors: dict[str, dict[str, dict[str, float]]], pattern: str) -> str:
    by_site = {site: of_site.get(pattern, {}) for site, of_site in errors.items()}
    imputers = [
        name
        for name, row in IMPUTER_ROWS.items()
        if name != "mean" and not row.draws and any(name in rmse for rmse in by_site.values())
    ]
    all_names = dict.fromkeys(name for rmse in by_site.values() for name in rmse)
    # An imputer of another package has the name of its method.
    imputers += [name for name in all_names if name not in IMPUTER_ROWS and not name.endswith(", draws")]
    rows: list[list[Value]] = [
        [
            site_label(site) + (MARK if has_few_patients(run, site) else ""),
            *(metric_cell(IMPUTATION_METRICS["rmse"], rmse.get(name)) for name in imputers),
        ]
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
        num_windows = max(num_scored_windows(run, method, site) for method in methods)
        values = [
            metric_cell(TASK_METRICS[key], results[method].get(site, {}).get(key))
            for key in keys
            for method in methods
        ]
        rows.append([_marked(run, site), num_windows, *values])
    columns = [f"{TASK_METRICS[key].label}, {method}" for key in keys for method in methods]
    title = f"{run.schema.task_kind.title} of the test windows of each site"
    meanings = {
        f"{TASK_METRICS[key].label}, {method}": TASK_METRICS[key].meaning
        for key in keys
        for method in methods
    }
    table = Table(title, ["site", "windows", *columns], rows, meanings=meanings)
    return _bars_of_sites(run, results) + table.to_html()


def _bars_of_sites(run: RunRecord, results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Draw the first metric of each site and method, unless there are too many sites to tell apart."""
    if len(run.sites) > MAX_BARS:
        return ""
    label, key = (metric := primary_metric(run.schema.task)).label, metric.name
    scores = {
        method: [of_sites.get(site, {}).get(key, math.nan) for site in run.sites]
        for method, of_sites in results.items()
    }
    return figure_row(
        bars(
            f"{label} on the test windows of each site",
            [_marked(run, site) for site in run.sites],
            scores,
            label,
        )
    )


def _marked(run: RunRecord, site: str) -> str:
    """Mark the name of a site whose results are too uncertain to be compared."""
    return site + MARK if why_not_ranked(run, site) else site
