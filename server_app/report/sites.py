"""What the models do at each site, and what a site gained over training alone."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import IMPUTER_ROWS, TASK_METRICS, imputer_label, missingness_label
from data_partitions.table import Table, Value
from server_app.artifacts import scores
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.report.figures import bars, horizontal_bars
from server_app.report.markup import figure_row, heading, paragraph, section

ALONE = "local"  # the method in which each site trains for itself


def by_site(run: RunRecord) -> tuple[str, str]:
    if not run.sums:
        why = "The run has kept no test scores by site: none were made yet, or an earlier version made them."
        return section("Site by site", paragraph(why))
    return section(
        "Site by site", _imputation(run), _task(run), heading("Gain over training alone"), _gain(run)
    )


def site_rmse(run: RunRecord) -> dict[str, dict[str, float]]:
    """`{site: {"kind, row": RMSE}}` of every row."""
    kinds: dict[str, dict[str, dict]] = {}
    for scope, suffix in PHASE_SUFFIX.items():
        for site, sums in run.sums.get(f"imputer{suffix}", {}).items():
            rows = scores.imputation_rows(sums, run.schema)
            scores.add_imputation(kinds.setdefault(site, {}), rows, scope)
    return {
        site: {
            f"{missingness_label(kind)}, {imputer_label(row)}": metrics["rmse"]
            for kind, rows in of_site.items()
            for row, metrics in rows.items()
        }
        for site, of_site in kinds.items()
    }


def site_metrics(run: RunRecord, method: str) -> dict[str, dict[str, float]]:
    """`{site: metrics}` of a method's task model on the site's test windows."""
    return {site: run.task_metrics(sums) for site, sums in run.sums.get(f"task-{method}", {}).items()}


def _imputation(run: RunRecord) -> str:
    found = site_rmse(run)
    if not found:
        return ""
    shown = [row.label for row in IMPUTER_ROWS.values() if row.name != "mean" and not row.draws]
    every = dict.fromkeys(column for told in found.values() for column in told)
    columns = [c for c in every if c.split(", ", 1)[1] in shown]
    rows = [[site, *(told.get(c) for c in columns)] for site, told in found.items()]
    return Table("RMSE of imputation at each site, test windows", ["site", *columns], rows).to_html()


def _task(run: RunRecord) -> str:
    methods = run.scored_methods
    if not methods:
        return ""
    found = {method: site_metrics(run, method) for method in methods}
    keys = [k for k in TASK_METRICS if any(k in m for by in found.values() for m in by.values())]
    rows = []
    for site in run.sites:
        windows = max(_windows(run, method, site) for method in methods)
        told = [found[method].get(site, {}).get(key) for key in keys for method in methods]
        rows.append([site, windows, *told])
    columns = [f"{TASK_METRICS[key].label}, {method}" for key in keys for method in methods]
    areas = {m: [found[m].get(site, {}).get("auroc", math.nan) for site in run.sites] for m in methods}
    return (
        figure_row(bars("AUROC at each site, test windows", list(run.sites), areas, "AUROC"))
        + Table("Classification at each site, test windows", ["site", "windows", *columns], rows).to_html()
    )


def _windows(run: RunRecord, method: str, site: str) -> float:
    sums = run.sums[f"task-{method}"].get(site)
    return 0.0 if sums is None else run.schema.task_kind.num_windows(sums)


def _gain(run: RunRecord) -> str:
    method = run.config["method"]
    together, alone = site_metrics(run, method), site_metrics(run, ALONE)
    if not alone or not together or method == ALONE:
        return paragraph(
            "What each site gained over training alone is told of a run that trains both: "
            'compare-with="mask,local".'
        )
    keys = [k for k in TASK_METRICS if any(k in found for found in alone.values())]
    rows: list[list[Value]] = []
    for site in together.keys() & alone.keys():
        pairs = [(together[site].get(k, math.nan), alone[site].get(k, math.nan)) for k in keys]
        rows.append([site, *(value for a, b in pairs for value in (b, a, a - b))])
    rows.sort(key=lambda row: list(run.sites).index(str(row[0])) if row[0] in run.sites else -1)
    columns = [f"{TASK_METRICS[k].label}, {what}" for k in keys for what in ("alone", method, "gain")]
    at = columns.index(f"{TASK_METRICS['auroc'].label}, gain") + 1
    gains = {str(row[0]): row[at] for row in rows}
    return (
        figure_row(horizontal_bars("Gain in AUROC over training alone", gains, "AUROC"))
        + Table(
            f"{method} beside training alone, test windows of each site", ["site", *columns], rows
        ).to_html()
    )
