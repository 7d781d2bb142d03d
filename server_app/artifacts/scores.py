"""Compute scores from the sums of sites: the metrics of a round, and the rows of imputers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from condi_core.averaging import Arrays
from condi_core.evaluation.catalogue import ERROR_SUMS, IMPUTATION_METRICS, TASK_METRICS, imputation_metrics
from condi_core.evaluation.imputers import IMPUTER_ROWS, find_own_imputer
from condi_core.evaluation.pattern_sums import rmse_over_patterns, scored_keys
from condi_core.evaluation.replicates import NUM_REPLICATES
from condi_core.evaluation.subgroups import subgroup_shapes, subgroups
from condi_core.methods import find_scope
from condi_core.protocol import REPLICATES
from condi_core.windows import Schema
from server_app.artifacts.site_info import MAX_ABS_VALUE
from server_app.artifacts.tensorboard import OTHER_SCORES, OWN_SCORES


@dataclass(frozen=True)
class Evaluation:
    """What sites reply to an evaluation, and how metrics are read from the total."""

    shapes: Callable[
        [str, int], dict[str, tuple[int, ...]]
    ]  # split, number of draws → shapes of sums by name
    scalars: tuple[str, ...]  # single numbers that come with the sums
    read: Callable[[Arrays, dict[str, float]], dict[str, float]]  # sums, scalars → metrics
    max_value: float = 1e6  # largest number that sums may have per sample of all windows
    # split, number of draws → number of columns of the replicates that come with the sums
    replicate_columns: Callable[[str, int], int] = lambda split, samples: 0

    def reply_shapes(self, split: str, samples: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all arrays of a reply: of the sums and, if it has any, of their replicates."""
        columns = self.replicate_columns(split, samples)
        replicates = {REPLICATES: (NUM_REPLICATES, columns)} if columns else {}
        return {**self.shapes(split, samples), **replicates}


# Suffix of the names of phases and models by the scope of training; part of the seeds of random streams.
PHASE_SUFFIX = {"federated": "", "local": "-local", "centralised": "-pooled"}
NO_EVALUATION = Evaluation(shapes=lambda split, samples: {}, scalars=(), read=lambda sums, scalars: {})


def imputation_evaluation(schema: Schema, with_replicates: bool = False) -> Evaluation:
    """Return the evaluation of imputers: RMSE over all missingness patterns, and that of interpolation."""
    weights = schema.patch_weights

    def shapes(split: str, samples: int) -> dict[str, tuple[int, ...]]:
        return {key: (len(schema.names), len(ERROR_SUMS)) for key in scored_keys(samples)}

    def read(sums: Arrays, scalars: dict[str, float]) -> dict[str, float]:
        rmse, linear = (rmse_over_patterns(sums, weights, method) for method in ("condi", "linear"))
        return {"score": rmse, "rmse": rmse, "linear": linear}

    def replicate_columns(split: str, samples: int) -> int:
        return len(ERROR_SUMS) * len(scored_keys(samples)) * (with_replicates and split == "test")

    return Evaluation(shapes, (), read, replicate_columns=replicate_columns)


def task_evaluation(schema: Schema, with_replicates: bool = False) -> Evaluation:
    """Return the evaluation of task models: the mean loss, by which weights are selected, and metrics.

    Test windows are also scored by the subgroups of the covariates.
    """

    def shapes(split: str, samples: int) -> dict[str, tuple[int, ...]]:
        of_all = schema.task_kind.sum_shapes(len(schema.labels))
        return subgroup_shapes(of_all, subgroups(schema) if split == "test" else [])

    def read(sums: Arrays, scalars: dict[str, float]) -> dict[str, float]:
        loss = scalars["loss-sum"] / scalars["windows"] if scalars["windows"] else float("nan")
        return {"score": loss, **schema.task_kind.metrics(sums)}

    # Sums of a regression are in the unit of the labels, squared.
    max_value = MAX_ABS_VALUE**2 if schema.task_kind.standardises_labels else Evaluation.max_value

    def replicate_columns(split: str, samples: int) -> int:
        return schema.task_kind.reduced_columns(len(schema.labels)) * (with_replicates and split == "test")

    return Evaluation(shapes, ("loss-sum", "windows"), read, max_value, replicate_columns)


def subgroup_rows(sums: Arrays, schema: Schema) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{covariate: {subgroup: metrics, with the number of "windows"}}` of the sums of test windows."""
    kind = schema.task_kind
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for group in subgroups(schema):
        of_group = group.select(sums, list(kind.sum_shapes(len(schema.labels))))
        if of_group:
            metrics = {"windows": kind.num_windows(of_group), **kind.metrics(of_group)}
            rows.setdefault(group.covariate_name, {})[group.name] = metrics
    return rows


def imputation_rows(sums: Arrays, schema: Schema) -> dict[str, dict]:
    """Return `{missingness pattern: {method: metrics, with "rmse by modality"}}`."""
    rows: dict[str, dict] = {}
    for key, array in sums.items():
        pattern, method = key.split("/")
        weighted = (schema.patch_weights[:, None] * array).sum(0)
        metrics: dict[str, Any] = dict(imputation_metrics(weighted))
        metrics["rmse by modality"] = [imputation_metrics(a)["rmse"] for a in array]
        rows.setdefault(pattern, {})[method] = metrics
    return rows


def name_network(rows: dict[str, dict], name: str) -> dict[str, dict]:
    """Give the rows of the trained network the name of another package's method; "" leaves CondI's."""
    if not name:
        return rows
    return {
        pattern: {
            name + row.removeprefix("condi") if row.startswith("condi") else row: metrics
            for row, metrics in of_pattern.items()
        }
        for pattern, of_pattern in rows.items()
    }


def add_imputation(table: dict[str, dict], rows: dict[str, dict], scope: str) -> None:
    """Add the rows of one imputer to those of the others.

    An imputer that is not federated adds its own row, and the rows that do not depend on an imputer.

    Parameters
    ----------
    table : dict
        `{missingness pattern: {row: metrics}}`, which is extended.
    rows : dict
        The rows of the imputer, as `imputation_rows` returns them.
    scope : str
        Which sites train the imputer together, as in `Method`.
    """
    name = next(row.name for row in IMPUTER_ROWS.values() if row.scope == scope)
    for pattern, methods in rows.items():
        if scope != "federated":
            methods = {
                **{
                    row: methods[row]
                    for row in IMPUTER_ROWS
                    if row in methods and not IMPUTER_ROWS[row].learned
                },
                name: methods["condi"],
            }
        table[pattern] = methods | table.get(pattern, {})


def final_scores(result: dict[str, Any], method: str) -> dict[str, float]:
    """Return the test scores of a run by names that all trackers of experiments take.

    The run's own scores have the same names in every run, so that runs of different methods have the same
    columns: `test/auroc` and `test/gaps 50 percent/rmse`. Those of the methods and imputers that it is
    compared with are `compared/mask/auroc` and `compared/gaps 50 percent/linear/rmse`.

    Parameters
    ----------
    result : dict
        The content of result.json.
    method : str
        The run's own method.
    """
    named = {
        (OWN_SCORES if name == method else f"{OTHER_SCORES}{name}/") + key: value
        for name, metrics in result["task"].items()
        for key, value in metrics.items()
        if key in TASK_METRICS
    }
    for pattern, imputers in result["imputation"].items():
        own = find_own_imputer(imputers, find_scope(method))
        for name, metrics in imputers.items():
            prefix = f"{OWN_SCORES}{pattern}/" if name == own else f"{OTHER_SCORES}{pattern}/{name}/"
            # A point estimate has no interval.
            has_draws = name in IMPUTER_ROWS and IMPUTER_ROWS[name].draws
            for key, metric in IMPUTATION_METRICS.items():
                if key in metrics and (has_draws or not metric.of_draws):
                    named[prefix + key] = metrics[key]
    return {
        name.replace("%", "percent").replace(",", ""): float(value)
        for name, value in named.items()
        if value is not None and math.isfinite(value)
    }
