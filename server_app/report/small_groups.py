"""Groups of test patients that are too few for a result to be compared with others."""

from __future__ import annotations

import math

from condi_core.averaging import Arrays
from condi_core.evaluation.catalogue import primary_metric
from server_app.artifacts.run_estimates import MIN_PATIENTS
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.stored_sums import histograms
from server_app.report.site_scores import num_scored_windows, site_metrics

EXPLANATION = (
    f"Results of fewer than {MIN_PATIENTS} patients, or of patients who all have the same outcome, "
    "are marked with † and are not ranked."
)
MARK = " †"
OF_SITES = (
    f"Sites with fewer than {MIN_PATIENTS} test patients, or with patients who all have the same outcome, "
    f"are marked with{MARK}: their results are uncertain."
)
OF_LABELS = (
    f"Labels that fewer than {MIN_PATIENTS} test windows have, or lack, are marked with{MARK}: their results "
    "are uncertain."
)


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
    if has_few_patients(run, site):
        return "few windows" if _test_patients(run, site) is None else "few patients"
    metrics = site_metrics(run, run.config["method"]).get(site)
    if metrics is None:
        return ""
    if not math.isfinite(metrics.get(primary_metric(run.schema.task).name, math.nan)):
        return "one outcome only"
    return ""


def has_few_patients(run: RunRecord, site: str) -> bool:
    """Return whether a site has few test patients, or few test windows where it withholds its patients."""
    method, patients = run.config["method"], _test_patients(run, site)
    if patients is None:
        return site in site_metrics(run, method) and num_scored_windows(run, method, site) < MIN_PATIENTS
    return patients < MIN_PATIENTS


def _test_patients(run: RunRecord, site: str) -> int | None:
    """Return how many test patients a site has; None where it withholds that."""
    return run.sites[site].patients.get("test") if site in run.sites else None


def mark_label(label: str, sums: Arrays, position: int) -> str:
    """Mark the name of a label that few windows of these sums have, or lack."""
    positives, negatives = histograms(sums, position)
    return mark_small(label, min(positives.sum(), negatives.sum()))


def mark_small(name: str, number: float) -> str:
    """Mark the name of a group of so many patients or windows, if they are few."""
    return name + MARK if number < MIN_PATIENTS else name
