"""The patients of a site whose privacy a run protects: their windows, and the noise of what is released."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from client_app.node.privacy_ledger import spend_privacy
from client_app.node.site import Site
from condi_core.privacy.accounting import GaussianRelease
from condi_core.privacy.gradients import GradientPrivacy
from condi_core.privacy.noise import choose_windows, sample_patients
from condi_core.privacy.plan import PrivacyPlan, plan_privacy, sampling_rate


class Patients:
    """The patients behind some training windows of a site.

    Parameters
    ----------
    site : Site
    rows : ndarray of int
        Rows of the partition.
    """

    def __init__(self, site: Site, rows: np.ndarray) -> None:
        self.site = site
        order = np.argsort(site.partition.patient_ids[rows], kind="stable")
        _, starts = np.unique(site.partition.patient_ids[rows][order], return_index=True)
        self.rows_by_patient = np.split(rows[order], starts[1:]) if len(rows) else []

    def __len__(self) -> int:
        return len(self.rows_by_patient)

    @cached_property
    def num_windows(self) -> np.ndarray:
        """Number of windows of each patient."""
        return np.array([len(rows) for rows in self.rows_by_patient], int)

    def choose_rows(self) -> np.ndarray:
        """Draw one window of each patient; return its row."""
        choice = choose_windows(self.num_windows)
        return np.array([rows[i] for rows, i in zip(self.rows_by_patient, choice, strict=True)], int)

    def sample_steps(self, batch: int, steps: int) -> list[np.ndarray]:
        """Draw the patients of each step of a round, `batch` of them on average; return their positions."""
        rate = sampling_rate(batch, len(self))
        return [sample_patients(len(self), rate) for _ in range(steps)]

    def spend_on_steps(self, phase: str, batch: int, steps: int) -> GradientPrivacy:
        """Record the steps of a round in the site's ledger; return the bound and noise of their gradients."""
        noise, rate = plan_of_site(self.site).gradients, sampling_rate(batch, len(self))
        spend_privacy(self.site, f"steps of {phase}", GaussianRelease(noise, rate, steps))
        return GradientPrivacy(self.site.config.privacy.clip_patient, noise, rate * len(self))


def plan_of_site(site: Site) -> PrivacyPlan:
    """Return the noise of all that the site releases in the run."""
    numbers = (
        len(Patients(site, rows)) for rows in (site.partition.rows("train"), site.labelled_rows("train"))
    )
    return plan_privacy(site.config, *numbers)


def public_presence(site: Site) -> np.ndarray:
    """Return which modalities the site has, bool (1, modality), as its manifest says.

    Which windows had them is not told, as that depends on the patients of the windows.
    """
    return np.array([[modality.present for modality in site.partition.manifest.modalities]])
