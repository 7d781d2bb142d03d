"""The results of an exchange with sites."""

from __future__ import annotations

from dataclasses import dataclass, field

from condi_core.averaging import Arrays
from server_app.federation.exchange import Exchange


@dataclass(frozen=True)
class EvaluationOutcome:
    """The result of an evaluation."""

    metrics: dict[str, float]  # of all windows together
    selection_score: float  # the lower, the better; see `ModalityFedAvg.aggregate_evaluate`
    sums: Arrays
    site_sums: dict[str, Arrays]  # what each site added to the sums
    exchange: Exchange
    site_replicates: Arrays = field(default_factory=dict)  # of each site's sums, of a test


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of a round of training."""

    state: Arrays
    loss: float  # mean over training windows
    windows: float  # that the sites count for
    exchange: Exchange
    evaluated: EvaluationOutcome | None = None  # of the state from which sites started
