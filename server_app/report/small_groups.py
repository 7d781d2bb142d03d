"""Groups of test patients that are too few for a result to be compared with others."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import primary_metric
from server_app.artifacts.run_estimates import MIN_PATIENTS
from server_app.artifacts.run_record import RunRecord
from server_app.report.sites import num_scored_windows, site_metrics

EXPLANATION = (
    f"Results of fewer than {MIN_PATIENTS} patients, or of patients who all have the same outcome, "
    "are marked with † and are not ranked."
)
MARK = " †"


def why_not_ranked(run: RunRecord, site: str) -> str:
    """Say why the results of a site are too uncertain to be compared; "" if they are not.

    Parameters
    ----------
    run : RunRecord
    site : str

    Returns
    -------
    str
        A few words.
    """
    patients = run.sites[site].patients.get("test") if site in run.sites else None
    if patients is not None and patients < MIN_PATIENTS:
        return "few patients"
    metrics = site_metrics(run, run.config["method"]).get(site)
    if metrics is None:
        return ""
    if patients is None and num_scored_windows(run, run.config["method"], site) < MIN_PATIENTS:
        return "few windows"
    if not math.isfinite(metrics.get(primary_metric(run.schema.task).name, math.nan)):
        return "one outcome only"
    return ""


def mark_small(name: str, number: float) -> str:
    """Mark the name of a group of so many patients or windows, if they are few."""
    return name + MARK if number < MIN_PATIENTS else name
