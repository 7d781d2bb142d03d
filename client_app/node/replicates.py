"""The random numbers of patients by which a site makes replicates of its test sums."""

from __future__ import annotations

import hashlib

import numpy as np

from client_app.node.site import Site
from condi_core.evaluation.replicates import NUM_REPLICATES


def draw_deviations(site: Site, rows: np.ndarray) -> np.ndarray:
    """Draw a standard normal number of the patient of each window, for each replicate.

    A patient has the same numbers in all phases and for all methods of a run, so that differences of methods
    have intervals of their own. The numbers follow from the site's data, which the coordinator does not have:
    with them it could solve for the sums of single patients.

    Parameters
    ----------
    site : Site
    rows : ndarray of int, shape (window,)
        Test windows of the partition.

    Returns
    -------
    ndarray, shape (window, replicate)
    """
    patients = np.unique(site.partition.patient_ids[site.partition.rows("test")])
    key = f"replicates/{site.name}/{site.config.seed}/{site.fingerprint}"
    rng = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
    deviations = rng.standard_normal((len(patients), NUM_REPLICATES))
    if len(patients) > 1:  # as in the variance of a sample
        deviations *= np.sqrt(len(patients) / (len(patients) - 1))
    return deviations[np.searchsorted(patients, site.partition.patient_ids[rows])]
