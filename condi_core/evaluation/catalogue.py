"""The catalogue of an evaluation: its metrics, imputers and missingness patterns, with their labels.

All tables, figures and studies take their rows and columns from here, in this order. A metric that is added
here is computed by every run and appears in all of them. This module does not need torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from condi_core.evaluation import classification, regression

Sums = Mapping[str, np.ndarray]
Compute = dict[str, Callable[[Sums], float]]  # by kind of task
Item = TypeVar("Item", bound="Metric | MissingnessPattern")
EXCLUSIVE = ("single-label", "ordinal")  # kinds of task in which a window has exactly one label
CLASSIFICATION = ("binary", "multi-label", *EXCLUSIVE)
ERROR_SUMS = ("count", "absolute", "squared", "quantile", "covered")  # the sums of an imputer, in this order


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that is computed from sums.

    Attributes
    ----------
    name : its key in result.json and other files
    label : its name in tables and figures
    higher_is_better : its direction; None where a certain value is best
    short_label : for narrow tables
    number_format : how it is printed
    meaning : what it is, for a reader who does not know it; a part of a sentence
    """

    name: str
    label: str
    higher_is_better: bool | None
    short_label: str = ""
    number_format: str = ".3f"
    meaning: str = ""

    @property
    def column(self) -> str:
        """The label for narrow tables."""
        return self.short_label or self.label

    def format(self, value: float) -> str:
        """Format a value of the metric."""
        return format(value, self.number_format).replace("%", " %")


@dataclass(frozen=True, kw_only=True)
class TaskMetric(Metric):
    """A metric of a task model; `compute` has a function for each kind of task that has the metric.

    The function takes the sums by name.
    """

    compute: Mapping[str, Callable[[Sums], float]]


@dataclass(frozen=True, kw_only=True)
class ImputationMetric(Metric):
    """A metric of an imputer in standard deviations of the modality, read from ERROR_SUMS (5,).

    `of_draws` marks a metric that only an imputer with draws has.
    """

    compute: Callable[[np.ndarray], float]
    of_draws: bool = False


def _of(kinds: Iterable[str], read: Callable[[np.ndarray], float], name: str = "task") -> Compute:
    """Return, for each of the kinds of task, how a metric is read from the sums of that name."""
    return dict.fromkeys(kinds, lambda sums: read(sums[name]))


def _by_name(*items: Item) -> dict[str, Item]:
    return {item.name: item for item in items}


TASK_METRICS: dict[str, TaskMetric] = _by_name(
    TaskMetric(
        name="auroc",
        label="AUROC",
        meaning="how often a window with the label has a higher score than one without it; chance is 0.5",
        higher_is_better=True,
        compute=_of(CLASSIFICATION, classification.macro_auroc),
    ),
    TaskMetric(
        name="auprc",
        label="AUPRC",
        meaning="the mean precision over all sensitivities; chance is the prevalence",
        higher_is_better=True,
        compute=_of(("binary", "multi-label"), classification.macro_average_precision)
        | _of(EXCLUSIVE, classification.event_average_precision),
    ),
    TaskMetric(
        name="f1",
        label="macro F1",
        meaning="the harmonic mean of precision and sensitivity",
        short_label="F1",
        higher_is_better=True,
        compute=_of(CLASSIFICATION, classification.macro_f1),
    ),
    TaskMetric(
        name="accuracy",
        label="accuracy",
        meaning="the share of decisions that are right",
        short_label="acc.",
        higher_is_better=True,
        compute=_of(("binary", "multi-label"), classification.decision_accuracy)
        | _of(EXCLUSIVE, classification.window_accuracy),
    ),
    TaskMetric(
        name="kappa",
        label="kappa",
        meaning="agreement beyond chance; in ordinal tasks a decision counts by how many steps it is off",
        higher_is_better=True,
        compute=_of(("single-label",), classification.kappa)
        | _of(("ordinal",), classification.weighted_kappa),
    ),
    TaskMetric(
        name="steps",
        label="mean deviation in steps",
        meaning="by how many classes decisions are off",
        short_label="steps",
        higher_is_better=False,
        compute=_of(("ordinal",), classification.mean_deviation),
    ),
    TaskMetric(
        name="mae",
        label="MAE",
        meaning="the mean absolute error",
        higher_is_better=False,
        compute=_of(("regression",), regression.mean_absolute_error, "errors"),
    ),
    TaskMetric(
        name="rmse",
        label="RMSE",
        meaning="the root of the mean squared error",
        higher_is_better=False,
        compute=_of(("regression",), regression.root_mean_squared_error, "errors"),
    ),
    TaskMetric(
        name="r2",
        label="R²",
        meaning="the share of the variance of the labels that is explained; 0 is no better than their mean",
        higher_is_better=True,
        compute=_of(("regression",), regression.r_squared, "errors"),
    ),
    TaskMetric(
        name="coverage",
        label="in 90 % interval",
        meaning="the share of labels between the predicted 5 % and 95 % quantiles, ideally 90 %",
        short_label="in 90 %",
        higher_is_better=None,
        number_format=".1%",
        compute=_of(("regression",), regression.coverage, "errors"),
    ),
)
# The loss that training minimises, by which weights are selected; not a metric of the table of a task.
MEAN_LOSS = Metric(
    name="score",
    label="mean loss",
    meaning="what training minimises; on validation windows, weights are selected by it",
    higher_is_better=False,
)
# A run's result does not contain it: `condi evaluate` reports it.
CALIBRATION_ERROR = TaskMetric(
    name="calibration error",
    label="calibration error",
    meaning="the mean distance from the diagonal in ten bins of equal width",
    short_label="calib.",
    higher_is_better=False,
    compute=_of(CLASSIFICATION, classification.mean_calibration_error),
)

IMPUTATION_METRICS: dict[str, ImputationMetric] = _by_name(
    ImputationMetric(
        name="rmse",
        label="RMSE",
        meaning="the root of the mean squared error, in standard deviations of the modality",
        higher_is_better=False,
        compute=lambda sums: (sums[2] / sums[0]) ** 0.5,
    ),
    ImputationMetric(
        name="mae",
        label="MAE",
        meaning="the mean absolute error, in standard deviations of the modality",
        higher_is_better=False,
        compute=lambda sums: sums[1] / sums[0],
    ),
    ImputationMetric(
        name="crps",
        label="CRPS",
        meaning="the mean quantile loss of the draws at 19 levels; for a point estimate it is the MAE",
        higher_is_better=False,
        compute=lambda sums: sums[3] / sums[0],
    ),
    ImputationMetric(
        name="coverage",
        label="in 90 % interval",
        meaning="the share of hidden samples inside their interval, ideally 90 %",
        higher_is_better=None,
        number_format=".1%",
        compute=lambda sums: sums[4] / sums[0],
        of_draws=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class MissingnessPattern:
    """A missingness pattern that every imputer is scored under.

    `name` seeds random streams and is the key in files, so that it must never change; tables show `label`.
    `parameters` are those of `Missingness`.
    """

    name: str
    label: str
    parameters: Mapping[str, float]


EVALUATED_MISSINGNESS: dict[str, MissingnessPattern] = _by_name(
    MissingnessPattern(name="points 50 %", label="50 % of points", parameters={"points": 0.5}),
    MissingnessPattern(name="gaps 50 %", label="50 % in gaps", parameters={"gaps": 0.5}),
    MissingnessPattern(
        name="third absent", label="one third of signals missing", parameters={"modality_by_window": 1 / 3}
    ),
)


def metrics_of_task(kind: str) -> list[TaskMetric]:
    """Return the metrics that a kind of task has, in the order of tables."""
    return [metric for metric in TASK_METRICS.values() if kind in metric.compute]


def primary_metric(kind: str) -> TaskMetric:
    """Return the metric of a kind of task that figures show: the first in the order of tables."""
    return metrics_of_task(kind)[0]


def imputation_metrics(sums: np.ndarray) -> dict[str, float]:
    """Compute all imputation metrics from the sums (5,) of one or more modalities; NaN without samples."""
    if not sums[0]:
        return dict.fromkeys(IMPUTATION_METRICS, float("nan"))
    return {name: float(metric.compute(sums)) for name, metric in IMPUTATION_METRICS.items()}


def missingness_label(name: str) -> str:
    """Return the label of a missingness pattern, or its name if the catalogue does not have it."""
    pattern = EVALUATED_MISSINGNESS.get(name)
    return pattern.label if pattern else name
