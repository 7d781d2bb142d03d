"""Test scores of single sites."""

from __future__ import annotations

from server_app.artifacts import scores
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.scores import PHASE_SUFFIX


def site_rmse(run: RunRecord) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{site: {missingness pattern: {imputer: RMSE}}}` of every imputer."""
    results: dict[str, dict[str, dict]] = {}
    for scope, suffix in PHASE_SUFFIX.items():
        for site, sums in run.sums.get(f"imputer{suffix}", {}).items():
            rows = scores.imputation_rows(sums, run.schema)
            rows = scores.name_network(rows, run.own_imputer if scope == "federated" else "")
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


def num_scored_windows(run: RunRecord, method: str, site: str) -> float:
    """Count the test windows of a site on which a method was scored."""
    sums = run.sums[f"task-{method}"].get(site)
    return 0.0 if sums is None else run.schema.task_kind.num_windows(sums)
