"""The section of subgroups: the results of each method by age, sex and other covariates."""

from __future__ import annotations

from collections.abc import Collection

from condi_core.evaluation.catalogue import metrics_of_task
from data_partitions.table import Table, Value
from server_app.artifacts import scores
from server_app.artifacts.run_estimates import MIN_PATIENTS
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.stored_sums import sum_over_sites
from server_app.report.markup import Section, metric_cell, paragraph, section
from server_app.report.small_groups import MARK, mark_small

# {method: {covariate: {subgroup: metrics, with the number of "windows"}}}
SubgroupScores = dict[str, dict[str, dict[str, dict[str, float]]]]


def subgroup_scores(run: RunRecord) -> SubgroupScores:
    """Return the test scores of all subgroups, by method and covariate; of methods that were tested."""
    results = {
        method: scores.subgroup_rows(sum_over_sites(run.sums[f"task-{method}"]), run.schema)
        for method in run.scored_methods
    }
    return {method: rows for method, rows in results.items() if rows}


def subgroup_tables(run: RunRecord, methods: Collection[str] = ()) -> list[Table]:
    """Make a table of each covariate: a row per subgroup, with the metrics of methods, by default of all."""
    results = {m: rows for m, rows in subgroup_scores(run).items() if not methods or m in methods}
    if not results:
        return []
    metrics = metrics_of_task(run.schema.task)
    columns = [f"{metric.label}, {method}" for metric in metrics for method in results]
    meanings = {f"{metric.label}, {method}": metric.meaning for metric in metrics for method in results}
    tables = []
    for covariate, groups in next(iter(results.values())).items():
        rows: list[list[Value]] = []
        for group in groups:
            by_method = [results[method][covariate][group] for method in results]
            values = [metric_cell(m, of_method[m.name]) for m in metrics for of_method in by_method]
            num_windows = max(of_method["windows"] for of_method in by_method)
            if not num_windows and not run.config.get("privacy.smallest-count"):
                continue  # no patient is in it
            rows.append([mark_small(group, num_windows), num_windows, *values])
        title = f"Test windows by {covariate}"
        tables.append(Table(title, [covariate, "windows", *columns], rows, meanings=meanings))
    return tables


def explanation(run: RunRecord) -> str:
    """Say what the tables of subgroups show, and what is withheld."""
    text = (
        "Test windows of all sites together. Differences between small subgroups may be due to chance: those "
        f"with fewer than {MIN_PATIENTS} windows are marked with{MARK}."
    )
    if smallest_count := run.config.get("privacy.smallest-count"):
        text += (
            f" A site withholds the subgroups of a covariate where one of them has fewer than "
            f"{smallest_count} patients, or where one of their labels does."
        )
    return text


def by_subgroup(run: RunRecord) -> list[Section]:
    """Return the section, if the data have covariates with subgroups and a model was tested."""
    tables = [table.to_html() for table in subgroup_tables(run)]
    return [section("Subgroups", paragraph(explanation(run)), *tables)] if tables else []
