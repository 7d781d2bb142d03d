"""How a site divides its patients' privacy among what it releases in a run.

A run releases of a site, once each, histograms and moments for standardisation and the relation; and in each
step of training a noisy gradient. The single releases get fixed shares of the budget. The noise of gradients,
which is the same in both phases, is what the rest of the budget needs.
"""

from __future__ import annotations

from typing import NamedTuple

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.privacy.accounting import GaussianRelease, calibrate_sampled_noise, split_budget

STANDARDISING_SHARE = 0.1  # of the budget, of each of the two releases; see `split_budget`
RELATION_SHARE = 0.4


class PrivacyPlan(NamedTuple):
    """Noise multipliers of what a site releases; 0 for what the run does not need.

    Attributes
    ----------
    standardising : of the histograms, and of the moments, of all modalities together
    relation : of the relation of all modalities
    gradients : of the sum of gradients of a step
    releases : all that the site is going to release
    """

    standardising: float
    relation: float
    gradients: float
    releases: tuple[GaussianRelease, ...]


def sampling_rate(batch: int, patients: int) -> float:
    """Return the probability of a patient to be in a step that has `batch` patients on average."""
    return min(1.0, batch / patients)


def plan_privacy(config: RunConfig, patients: int, labelled_patients: int) -> PrivacyPlan:
    """Calibrate the noise of a site so that a run spends `privacy.patient-epsilon`.

    Parameters
    ----------
    config : settings of the run
    patients : the site's patients for training
    labelled_patients : those among them with labels; 0: the site takes no part in phase 2
    """
    privacy, methods = config.privacy, [METHODS[name] for name in config.methods]
    has_relation = config.imputer.relation_rounds and any(m.imputer_training != "none" for m in methods)
    diffusions = {m.scope for m in methods if m.imputer_training == "diffusion"}
    shares = [STANDARDISING_SHARE] * 2 + [RELATION_SHARE] * bool(has_relation)
    multipliers = split_budget(shares, privacy.patient_epsilon, privacy.delta)
    sampled = [
        (sampling_rate(phase.batch, number), times * phase.rounds * phase.steps)
        for phase, number, times in (
            (config.imputer, patients, len(diffusions)),
            (config.task, labelled_patients, len(methods)),
        )
        if times and number
    ]
    others = tuple(map(GaussianRelease, multipliers))
    gradients = 0.0
    if sampled:
        gradients = calibrate_sampled_noise(tuple(sampled), others, privacy.patient_epsilon, privacy.delta)
    releases = *others, *(GaussianRelease(gradients, *pair) for pair in sampled)
    return PrivacyPlan(multipliers[0], multipliers[2] if has_relation else 0.0, gradients, releases)
