"""The kinds of task, such as multi-label and single-label classification: all that differs between them.

A kind of task is one `TaskKind` in `TASK_KINDS`, and its metrics are those of the catalogue that name it. The
task model, the sites, the coordinator and the reports take loss, predictions, sums and metrics from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from condi_core.evaluation.catalogue import metrics_of_task
from condi_core.evaluation.classification import (
    BINS,
    DECISION_COUNTS,
    classification_sums,
    confusion_matrix,
)

Sums = dict[str, np.ndarray]


@dataclass(frozen=True)
class TaskKind:
    """Loss, predictions, evaluation sums and metrics of one kind of task.

    Attributes
    ----------
    name : the value of `Schema.task`
    loss : (outputs, labels), both (batch, label) → the mean loss of the batch
    predictions : outputs (batch, label) → what is reported of them, such as probabilities
    sum_shapes : number of labels → shape of each sum of an evaluation, by its name
    sums : (predictions, labels), both (batch, label) and on the CPU → sums of the batch by name. Sums of
        several batches or sites, added up, are those of the pooled data.
    num_windows : sums → the number of windows that they were computed from
    label_counts : labels (window, label) → per label the number that a site reports of a split
    label_groups : labels (window, label) → masks (window,) of all groups of windows that `label_counts` and
        sums distinguish. A site withholds them when a group has too few patients.
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    predictions: Callable[[Tensor], Tensor]
    sum_shapes: Callable[[int], dict[str, tuple[int, ...]]]
    sums: Callable[[Tensor, Tensor], Sums]
    num_windows: Callable[[Mapping[str, np.ndarray]], float]
    label_counts: Callable[[np.ndarray], np.ndarray]
    label_groups: Callable[[np.ndarray], list[np.ndarray]]

    def metrics(self, sums: Mapping[str, np.ndarray], ordered: bool = False) -> dict[str, float]:
        """Read all metrics from sums; NaN where the data do not define one.

        Parameters
        ----------
        sums : as `sums` makes them, added up
        ordered : whether a label that is near the true one is less wrong
        """
        return {
            metric.name: metric.compute[self.name](sums, ordered) for metric in metrics_of_task(self.name)
        }


def _classification_shapes(labels: int) -> dict[str, tuple[int, ...]]:
    return {"task": (labels, len(DECISION_COUNTS) + 2 * BINS)}


def _count_classified_windows(sums: Mapping[str, np.ndarray]) -> float:
    """Count windows: each is one true or false, positive or negative decision about the first label."""
    return float(sums["task"][0, : len(DECISION_COUNTS) - 1].sum())


def _count_positives(labels: np.ndarray) -> np.ndarray:
    return labels.sum(0)


def _positives_and_negatives(labels: np.ndarray) -> list[np.ndarray]:
    positive = labels > 0.5
    return [*positive.T, *~positive.T]


def _above_one_half(probabilities: Tensor) -> Tensor:
    return probabilities >= 0.5


def _multi_label_sums(probabilities: Tensor, labels: Tensor) -> Sums:
    return {"task": classification_sums(probabilities, labels, _above_one_half(probabilities))}


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels.argmax(1))


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(-1)


def _likeliest(probabilities: Tensor) -> Tensor:
    return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).bool()


def _single_label_shapes(labels: int) -> dict[str, tuple[int, ...]]:
    return {**_classification_shapes(labels), "confusion": (labels, labels)}


def _single_label_sums(probabilities: Tensor, labels: Tensor) -> Sums:
    decided = _likeliest(probabilities)
    return {
        "task": classification_sums(probabilities, labels, decided, exclusive=True),
        "confusion": confusion_matrix(decided, labels),
    }


MULTI_LABEL = TaskKind(
    name="multi-label",
    loss=F.binary_cross_entropy_with_logits,
    predictions=torch.sigmoid,
    sum_shapes=_classification_shapes,
    sums=_multi_label_sums,
    num_windows=_count_classified_windows,
    label_counts=_count_positives,
    label_groups=_positives_and_negatives,
)
SINGLE_LABEL = TaskKind(
    name="single-label",
    loss=_cross_entropy,
    predictions=_softmax,
    sum_shapes=_single_label_shapes,
    sums=_single_label_sums,
    num_windows=_count_classified_windows,
    label_counts=_count_positives,
    label_groups=_positives_and_negatives,
)
TASK_KINDS: dict[str, TaskKind] = {kind.name: kind for kind in (MULTI_LABEL, SINGLE_LABEL)}
