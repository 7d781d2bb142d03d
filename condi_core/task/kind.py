"""The kinds of task, such as classification and regression: all that differs between them.

A kind of task is one `TaskKind` in `TASK_KINDS`, and its metrics are those of the catalogue that name it. The
task model, the sites, the coordinator and the reports take loss, predictions, sums and metrics from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from condi_core.evaluation import replicates
from condi_core.evaluation.catalogue import metrics_of_task
from condi_core.evaluation.classification import (
    BINS,
    DECISION_COUNTS,
    classification_sums,
    confusion_matrix,
)
from condi_core.evaluation.regression import COLUMNS_PER_LABEL, REGRESSION_SUMS, regression_sums

Sums = dict[str, np.ndarray]
INTERVAL_LEVELS = (0.05, 0.95)  # quantiles at the ends of the interval of a regression


def _above_one_half(probabilities: Tensor) -> Tensor:
    return probabilities >= 0.5


def _reduce_decisions(probabilities: Tensor, labels: Tensor, sums: Sums) -> np.ndarray:
    decided = _above_one_half(probabilities)
    return replicates.reduce_classification(probabilities, labels, decided, False, sums["task"])


def _replicate_decisions(sums: Sums, deviations: np.ndarray) -> Sums:
    return {"task": replicates.replicate_classification(sums["task"], deviations)}


@dataclass(frozen=True)
class TaskKind:
    """Loss, predictions, evaluation sums and metrics of one kind of task.

    Attributes
    ----------
    name : the value of `Schema.task`
    loss : (outputs (batch, output), labels (batch, label)) → the mean loss of the batch
    predictions : outputs (batch, output) → what is reported of them (batch, column), such as probabilities.
        Predictions for several completions of a window are averaged.
    sum_shapes : number of labels → shape of each sum of an evaluation, by its name
    sums : (predictions (batch, column), labels (batch, label)), both on the CPU → sums of the batch by name.
        Sums of several batches or sites, added up, are those of the pooled data.
    num_windows : sums → the number of windows that they were computed from
    label_counts : labels (window, label) → per label the number that a site reports of a split
    label_groups : labels (window, label) → masks (window,) of all groups of windows that `label_counts` and
        sums distinguish. A site withholds them when a group has too few patients.
    num_outputs : number of labels → number of outputs of the task model
    prediction_columns : names of the labels → names of the columns of predictions
    title : what phase 2 does, as the heading of its results
    reduced_columns : number of labels → number of columns of `reduced`
    reduced : (predictions, labels, sums of the site) → what each window adds to the reduced sums, from whose
        deviations a site makes replicates, (batch, column)
    replicate : (sums of the site, deviations (replicate, column)) → sums in each replicate, by name; those
        that metrics are read from
    standardises_labels : whether labels are numbers, which the model standardises; loss and predictions are
        then in standard deviations, and `TaskModel.predictions` converts them to the unit of the labels
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    predictions: Callable[[Tensor], Tensor]
    sum_shapes: Callable[[int], dict[str, tuple[int, ...]]]
    sums: Callable[[Tensor, Tensor], Sums]
    num_windows: Callable[[Mapping[str, np.ndarray]], float]
    label_counts: Callable[[np.ndarray], np.ndarray]
    label_groups: Callable[[np.ndarray], list[np.ndarray]]
    num_outputs: Callable[[int], int] = lambda labels: labels
    prediction_columns: Callable[[Sequence[str]], list[str]] = list
    reduced_columns: Callable[[int], int] = replicates.classification_columns
    reduced: Callable[[Tensor, Tensor, Sums], np.ndarray] = _reduce_decisions
    replicate: Callable[[Sums, np.ndarray], Sums] = _replicate_decisions
    title: str = "Classification"
    standardises_labels: bool = False

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Read all metrics from sums that were added up; NaN where the data do not define one."""
        return {metric.name: metric.compute[self.name](sums) for metric in metrics_of_task(self.name)}


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


def _reduce_exclusive_decisions(probabilities: Tensor, labels: Tensor, sums: Sums) -> np.ndarray:
    decided = _likeliest(probabilities)
    return replicates.reduce_classification(probabilities, labels, decided, True, sums["task"])


def _interval(outputs: Tensor) -> Tensor:
    """Turn outputs (batch, label * 3) into the mean and both ends of the 90 % interval, in this order.

    Outputs of 0 give an interval of 1.62 standard deviations on both sides, about that of a normal
    distribution.
    """
    mean, below, above = outputs.unflatten(1, (-1, COLUMNS_PER_LABEL)).unbind(2)
    return torch.stack([mean, mean - F.softplus(below + 1.4), mean + F.softplus(above + 1.4)], 2).flatten(1)


def _interval_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Sum the squared error of the mean and the quantile losses of both ends of the interval.

    The ends are the 5 % and 95 % quantiles (Koenker and Bassett 1978), so that they are right for skewed
    labels too. Their loss does not move the mean.
    """
    mean, low, high = _interval(outputs).unflatten(1, (-1, COLUMNS_PER_LABEL)).unbind(2)
    loss = F.mse_loss(mean, labels)
    for level, end in ((INTERVAL_LEVELS[0], low), (INTERVAL_LEVELS[1], high)):
        error = labels - (end - mean + mean.detach())
        loss = loss + torch.maximum(level * error, (level - 1) * error).mean()
    return loss


def _interval_columns(labels: Sequence[str]) -> list[str]:
    return [f"{label}{end}" for label in labels for end in ("", " 5 %", " 95 %")]


def _no_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    raise ValueError("data without labels have no task: phase 2 cannot be trained on them")


NONE = TaskKind(
    name="none",
    loss=_no_loss,
    predictions=torch.sigmoid,
    sum_shapes=lambda labels: {},
    sums=lambda predictions, labels: {},
    num_windows=lambda sums: 0.0,
    label_counts=_count_positives,
    label_groups=lambda labels: [],
    reduced_columns=lambda labels: 0,
    reduced=lambda predictions, labels, sums: np.zeros((len(labels), 0)),
    replicate=lambda sums, deviations: {},
)
BINARY = TaskKind(
    name="binary",
    loss=F.binary_cross_entropy_with_logits,
    predictions=torch.sigmoid,
    sum_shapes=_classification_shapes,
    sums=_multi_label_sums,
    num_windows=_count_classified_windows,
    label_counts=_count_positives,
    label_groups=_positives_and_negatives,
)
MULTI_LABEL = dataclasses.replace(BINARY, name="multi-label")
SINGLE_LABEL = TaskKind(
    name="single-label",
    loss=_cross_entropy,
    predictions=_softmax,
    sum_shapes=_single_label_shapes,
    sums=_single_label_sums,
    num_windows=_count_classified_windows,
    label_counts=_count_positives,
    label_groups=_positives_and_negatives,
    reduced=_reduce_exclusive_decisions,
)
ORDINAL = dataclasses.replace(SINGLE_LABEL, name="ordinal")
REGRESSION = TaskKind(
    name="regression",
    loss=_interval_loss,
    predictions=_interval,
    sum_shapes=lambda labels: {"errors": (labels, len(REGRESSION_SUMS))},
    sums=lambda predictions, labels: {"errors": regression_sums(predictions, labels)},
    num_windows=lambda sums: float(sums["errors"][0, 0]),
    label_counts=lambda labels: np.isfinite(labels).sum(0),
    label_groups=lambda labels: [],
    num_outputs=lambda labels: COLUMNS_PER_LABEL * labels,
    prediction_columns=_interval_columns,
    reduced_columns=replicates.regression_columns,
    reduced=lambda predictions, labels, sums: replicates.reduce_regression(predictions, labels),
    replicate=lambda sums, deviations: {
        "errors": replicates.replicate_regression(sums["errors"], deviations)
    },
    title="Regression",
    standardises_labels=True,
)
TASK_KINDS: dict[str, TaskKind] = {
    kind.name: kind for kind in (NONE, BINARY, SINGLE_LABEL, MULTI_LABEL, ORDINAL, REGRESSION)
}
