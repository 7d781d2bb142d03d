"""Read the test scores of a run as estimates: of all sites together, or of some."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from condi_core.averaging import Arrays
from condi_core.evaluation.catalogue import ERROR_SUMS, imputation_metrics
from condi_core.evaluation.imputers import IMPUTER_ROWS
from condi_core.evaluation.pattern_sums import scored_keys
from condi_core.evaluation.replicates import NUM_REPLICATES, read_replicates
from condi_core.protocol import POOLED_SITE
from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.scores import PHASE_SUFFIX, name_network
from server_app.artifacts.stored_sums import sum_over_sites

MIN_PATIENTS = 10  # of a number with an interval, which would be too narrow, or with a rank
ALL_PATTERNS = "all patterns"  # hidden samples of all missingness patterns together
# Lowest and highest value of metrics, to which replicates are cut off.
_RANGES = dict.fromkeys(("auroc", "auprc", "f1", "accuracy", "coverage"), (0.0, 1.0)) | {
    "kappa": (-1.0, 1.0),
    "r2": (-math.inf, 1.0),
}
_RANGE_OF_ERRORS = (0.0, math.inf)

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
        Estimates by metric; empty if the method was not scored at these sites. They have replicates where
        every site has sent them and there are enough patients; reading them takes a tenth of a second.
    """
    phase = f"task-{method}"
    by_site = _of_sites(run, phase, sites)
    if not by_site:
        return {}
    total, kind = sum_over_sites(by_site), run.schema.task_kind
    shape = (NUM_REPLICATES, kind.reduced_columns(len(run.schema.labels)))
    values, replicates = kind.metrics(total), _replicates(run, phase, by_site, [shape])
    if not replicates:
        return {name: Estimate(value) for name, value in values.items()}
    replicated = sum_over_sites({s: kind.replicate(sums, replicates[s]) for s, sums in by_site.items()})
    of_metrics = {name: total[name] for name in replicated}
    return _estimates(values, read_replicates(kind.metrics, of_metrics, replicated))


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
    phase = f"imputer{PHASE_SUFFIX[scope]}"
    by_site = _of_sites(run, phase, sites)
    if not by_site:
        return {}
    weight = run.schema.patch_weights[:, None]
    totals = {key: (weight * sums).sum(0) for key, sums in sum_over_sites(by_site).items()}
    shapes = [(NUM_REPLICATES, len(ERROR_SUMS) * len(scored_keys(samples))) for samples in (0, 1)]
    replicates = _replicates(run, phase, by_site, shapes)
    deviations: dict[str, np.ndarray] = {}
    if replicates:
        columns = np.sum(list(replicates.values()), axis=0, dtype=float)
        keys = scored_keys(0)
        keys = keys if columns.shape[1] == len(keys) * len(ERROR_SUMS) else scored_keys(1)
        deviations = dict(zip(keys, np.split(columns, len(keys), 1), strict=True))
    groups: dict[tuple[str, str], list[str]] = {}
    for key in totals:
        pattern, row = key.split("/")
        for name in (pattern, ALL_PATTERNS):
            groups.setdefault((name, row), []).append(key)
    result: ImputationEstimates = {}
    for (pattern, row), members in groups.items():
        total = np.sum([totals[key] for key in members], axis=0)
        values, of_replicates = imputation_metrics(total), {}
        if deviations:
            added = np.sum([deviations[key] for key in members], axis=0)
            of_replicates = read_replicates(_read_errors, {"errors": total}, {"errors": total + added})
        result.setdefault(pattern, {})[row] = _estimates(values, of_replicates)
    return result


def estimates_by_row(run: RunRecord) -> ImputationEstimates:
    """Estimate the metrics of all rows of the tables of imputation, which come from several scopes."""
    result: ImputationEstimates = {}
    for row in IMPUTER_ROWS.values():
        if row.scope != "federated":
            for pattern, rows in imputation_estimates(run, row.scope).items():
                own = {row.name: rows["condi"]} if "condi" in rows else {}
                others = {name: rows[name] for name in rows if not IMPUTER_ROWS[name].learned}
                result[pattern] = result.get(pattern, {}) | others | own
    for pattern, rows in name_network(imputation_estimates(run), run.own_imputer).items():
        result[pattern] = result.get(pattern, {}) | rows
    return result


def has_enough_patients(run: RunRecord, sites: Collection[str]) -> bool:
    """Whether sites have enough test patients together for intervals."""
    return sum(run.sites[site].patients.get("test") or 0 for site in sites) >= MIN_PATIENTS


def _read_errors(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    return imputation_metrics(sums["errors"])


def _estimates(values: Mapping[str, float], replicates: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    def cut(name: str) -> Any:
        array = replicates.get(name)
        # Replicates of a perfect score are all equal up to rounding, which says nothing about other patients.
        if array is None or np.ptp(array) < 1e-6:
            return None
        return np.clip(array, *_RANGES.get(name, _RANGE_OF_ERRORS))

    return {name: Estimate(value, cut(name)) for name, value in values.items()}


def _replicates(
    run: RunRecord, phase: str, sites: Collection[str], shapes: Collection[tuple[int, ...]]
) -> Arrays:
    """Return the replicates of sites; none if one has not sent them, or there are too few patients.

    Those of another shape were written by another version.
    """
    members = run.sites if POOLED_SITE in sites else run.sites.keys() & sites
    if not has_enough_patients(run, members):
        return {}
    sent = run.replicates.get(phase, {})
    complete = all(site in sent and sent[site].shape in shapes for site in sites)
    return {site: sent[site] for site in sites} if complete else {}


def _of_sites(run: RunRecord, phase: str, sites: Collection[str]) -> dict[str, Arrays]:
    return {site: sums for site, sums in run.sums.get(phase, {}).items() if not sites or site in sites}
