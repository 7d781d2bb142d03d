"""Read the test scores of a run as estimates: of all sites together, or of one."""

from __future__ import annotations

from collections.abc import Collection

from condi_core.evaluation.catalogue import imputation_metrics
from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_record import RunRecord, sum_over_sites
from server_app.artifacts.scores import PHASE_SUFFIX

ALL_PATTERNS = "all patterns"  # hidden samples of all missingness patterns together

# {missingness pattern: {row of the imputer: {metric: estimate}}}
ImputationEstimates = dict[str, dict[str, dict[str, Estimate]]]


def task_estimates(run: RunRecord, method: str, sites: Collection[str] = ()) -> dict[str, Estimate]:
    """Estimate the metrics of a method's task model.

    Parameters
    ----------
    run : RunRecord
    method : str
    sites : collection of str
        Sites whose test patients are used; by default all that were scored.

    Returns
    -------
    dict
        Estimates by metric; empty if the method was not scored at these sites.
    """
    by_site = _of_sites(run, f"task-{method}", sites)
    if not by_site:
        return {}
    return {name: Estimate(value) for name, value in run.task_metrics(sum_over_sites(by_site)).items()}


def imputation_estimates(
    run: RunRecord, scope: str = "federated", sites: Collection[str] = ()
) -> ImputationEstimates:
    """Estimate the metrics of the imputers that were scored with one scope of training.

    Parameters
    ----------
    run : RunRecord
    scope : str
        Who trained the imputer, as in `Method`.
    sites : collection of str
        Sites whose test patients are used; by default all that were scored.

    Returns
    -------
    dict
        The estimates of each missingness pattern, and of `ALL_PATTERNS` together.
    """
    by_site = _of_sites(run, f"imputer{PHASE_SUFFIX[scope]}", sites)
    if not by_site:
        return {}
    weight = run.schema.patch_weights[:, None]
    result: ImputationEstimates = {}
    totals: dict[tuple[str, str], list] = {}
    for key, array in sum_over_sites(by_site).items():
        pattern, row = key.split("/")
        for name in (pattern, ALL_PATTERNS):
            totals.setdefault((name, row), []).append((weight * array).sum(0))
    for (pattern, row), arrays in totals.items():
        metrics = imputation_metrics(sum(arrays))
        result.setdefault(pattern, {})[row] = {name: Estimate(value) for name, value in metrics.items()}
    return result


def _of_sites(run: RunRecord, phase: str, sites: Collection[str]) -> dict:
    return {site: sums for site, sums in run.sums.get(phase, {}).items() if not sites or site in sites}
