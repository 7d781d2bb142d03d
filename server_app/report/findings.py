"""What a run shows, computed once for all parts of its report."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

from condi_core.evaluation.catalogue import TaskMetric, primary_metric
from condi_core.methods import METHODS
from server_app.artifacts.estimates import Estimate, combine
from server_app.artifacts.run_estimates import (
    ALL_PATTERNS,
    ImputationEstimates,
    imputation_estimates,
    task_estimates,
)
from server_app.artifacts.run_record import RunRecord
from server_app.report.gains import Gain, site_gains
from server_app.report.small_groups import why_not_ranked


class Improvement(NamedTuple):
    """By which share the run's imputer reduces the error of linear interpolation, and both errors."""

    share: Estimate
    error: Estimate
    naive_error: Estimate


class Findings:
    """The estimates of the run's method, and the gains of its sites.

    Parameters
    ----------
    run : RunRecord
        Finished or not; what was not scored is empty or None.
    """

    def __init__(self, run: RunRecord) -> None:
        self.run = run
        self.method = run.config["method"]

    @cached_property
    def imputation(self) -> ImputationEstimates:
        """The scores of the imputers of the method's scope, over all test patients."""
        if not self.run.sites or self.method not in METHODS:
            return {}
        return imputation_estimates(self.run, METHODS[self.method].scope)

    @cached_property
    def improvement(self) -> Improvement | None:
        """The comparison with linear interpolation, over the samples of all missingness patterns."""
        rows = self.imputation.get(ALL_PATTERNS, {})
        row = next((name for name in ("condi", "estimate") if name in rows), None)
        if row is None or "linear" not in rows:
            return None
        error, naive = rows[row]["rmse"], rows["linear"]["rmse"]
        if not naive.value:  # of an exact interpolation there is no share
            return None
        share = combine(lambda own, other: 1 - own / other, error, naive)
        return Improvement(share, error, naive) if math.isfinite(share.value) else None

    @cached_property
    def task(self) -> dict[str, Estimate]:
        """The metrics of the method's task model that the test patients define."""
        if not self.run.sites:
            return {}
        estimates = task_estimates(self.run, self.method)
        return {name: estimate for name, estimate in estimates.items() if math.isfinite(estimate.value)}

    @property
    def primary(self) -> TaskMetric:
        """The metric of the task that stands for all."""
        return primary_metric(self.run.schema.task)

    @cached_property
    def gains(self) -> dict[str, list[Gain]]:
        """The gains of each site over training alone."""
        return site_gains(self.run)

    @cached_property
    def ranked_gains(self) -> dict[str, Gain]:
        """The gain in the first metric, of the sites that have enough patients for a comparison."""
        return {
            site: of_site[0]
            for site, of_site in self.gains.items()
            if math.isfinite(of_site[0].difference.value) and not why_not_ranked(self.run, site)
        }
