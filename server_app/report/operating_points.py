"""Operating points: what deciding by a threshold means on test windows. Thresholds are never chosen there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from condi_core.averaging import Arrays
from condi_core.evaluation.operating_points import (
    DEFAULT_THRESHOLD,
    THRESHOLD_RULES,
    OperatingPoint,
    operating_point,
)
from condi_core.windows import Schema
from data_partitions.table import Cell, Table, Value
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.stored_sums import histograms, sum_over_sites
from server_app.report.markup import percent
from server_app.report.small_groups import OF_LABELS, mark_small

TITLE = "Operating points on test windows"
FIXED_RULE = "fixed beforehand"
MEANING = (
    "A window is flagged if the probability of the label is at least the threshold. Sensitivity is the share "
    "of the windows with the label that are flagged, and specificity the share of the others that are not. "
    "PPV is the share of the flagged windows that have the label, and NPV the share of the others that do "
    "not; both hold for this prevalence alone. "
)
COLUMN_MEANINGS = {
    "chosen for": "what the threshold has on validation windows",
    "threshold": "the lowest probability of the label at which a window is flagged",
    "prevalence": "the share of windows that have the label",
    "flagged": "windows at or above the threshold",
    "sensitivity": "the share of the windows with the label that are flagged",
    "specificity": "the share of the windows without the label that are not flagged",
    "PPV": "positive predictive value: the share of the flagged windows that have the label",
    "NPV": "negative predictive value: the share of the other windows that do not have the label",
}
CHOSEN = "Thresholds were chosen on validation windows, and all numbers are those of test windows."
NOT_CHOSEN = (
    "The run has no scores of validation windows with and without the label, where a threshold could be "
    "chosen, so that only the threshold of 0.5 is shown."
)


@dataclass(frozen=True)
class LabelDecision:
    """The decisions about a label on test windows, and the rule by which the threshold was chosen."""

    label: str
    rule: str
    point: OperatingPoint


def shown_labels(schema: Schema) -> dict[int, str]:
    """Return the labels that tables and curves show, by position: of two exclusive labels only the event.

    The other one has the same decisions, mirrored.
    """
    labels = dict(enumerate(schema.labels))
    exclusive = "confusion" in schema.task_kind.sum_shapes(len(labels))
    return {1: labels[1]} if exclusive and len(labels) == 2 else labels


def label_decisions(run: RunRecord, method: str) -> list[LabelDecision]:
    """Return the decisions of a method about each label, at thresholds of validation windows.

    Where the run has none of both classes, the threshold is 0.5. Empty for a regression, and without test
    scores.
    """
    phase = f"task-{method}"
    sums = sum_over_sites(run.sums.get(phase, {}))
    validation = sum_over_sites(run.validation_sums.get(phase, {}))
    if "task" not in sums:
        return []
    decisions = []
    for k, label in shown_labels(run.schema).items():
        thresholds = _thresholds(validation, k) or {FIXED_RULE: DEFAULT_THRESHOLD}
        for rule, threshold in thresholds.items():
            point = operating_point(*histograms(sums, k), threshold)
            decisions.append(LabelDecision(label, rule, point))
    return decisions


def operating_points_table(run: RunRecord, method: str) -> Table:
    """Make a table of `label_decisions`, which `explain_thresholds` explains."""
    rows: list[list[Value]] = []
    for decision in label_decisions(run, method):
        point = decision.point
        threshold = Cell(_threshold_text(point.threshold), point.threshold)
        shares = (point.prevalence, point.sensitivity, point.specificity, point.ppv, point.npv)
        prevalence, *others = map(percent, shares)
        counts = (point.windows, prevalence, point.flagged)
        rows.append([_marked_label(decision), decision.rule, threshold, *counts, *others])
    columns = ["label", "chosen for", "threshold", "windows", "prevalence", "flagged"]
    columns += ["sensitivity", "specificity", "PPV", "NPV"]
    return Table(TITLE, columns, rows, meanings=COLUMN_MEANINGS)


def _threshold_text(threshold: float) -> str:
    """Write a threshold with three decimals, and a small one with two digits."""
    return f"{threshold:.3f}" if threshold >= 0.01 or threshold == 0 else f"{threshold:.2g}"


def explain_thresholds(run: RunRecord, method: str) -> str:
    """Say what the columns of the table are, where its thresholds come from, and what its marks mean."""
    decisions = label_decisions(run, method)
    chosen = any(decision.rule != FIXED_RULE for decision in decisions)
    is_marked = any(_marked_label(decision) != decision.label for decision in decisions)
    return MEANING + (CHOSEN if chosen else NOT_CHOSEN) + (f" {OF_LABELS}" if is_marked else "")


def _marked_label(decision: LabelDecision) -> str:
    point = decision.point
    return mark_small(decision.label, min(point.positives, point.windows - point.positives))


def _thresholds(validation: Arrays, label: int) -> dict[str, float]:
    if "task" not in validation:
        return {}
    pair: tuple[np.ndarray, np.ndarray] = histograms(validation, label)
    chosen = {rule: choose(*pair) for rule, choose in THRESHOLD_RULES.items()}
    return {rule: threshold for rule, threshold in chosen.items() if threshold is not None}
