"""The runs of a comparison with their test scores and costs, in groups that differ only in the seed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from condi_core.config import UNTRAINED_SETTINGS
from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    TASK_METRICS,
    Metric,
    missingness_label,
    primary_metric,
)
from condi_core.evaluation.imputers import find_own_imputer, imputer_label
from server_app.artifacts.estimates import NO_ESTIMATE, Estimate, combine
from server_app.artifacts.run_estimates import ImputationEstimates, estimates_by_row, task_estimates
from server_app.artifacts.run_record import RunRecord, read_run
from server_app.report.imputation import imputers_in_order
from server_app.study.ranking import SeedScores

# They do not change what a run computes. Which sites take part does.
OPERATING_SETTINGS = UNTRAINED_SETTINGS - {"federation", "sites", "min-sites", "quorum"}
MEAN_RMSE = "imputation RMSE"


class MetricScore(NamedTuple):
    """A score and the metric that it is of."""

    metric: Metric
    score: Estimate


@dataclass(frozen=True)
class ComparedRun:
    """A run with all that a comparison needs of it.

    Attributes
    ----------
    record : the run
    scores : every score on test windows, by a label such as `AUROC, condi`
    own_scores : those by which runs are ranked: of the run's own method and imputer
    costs : rounds, seconds, bytes and numbers of parameters
    """

    record: RunRecord
    scores: dict[str, MetricScore]
    own_scores: dict[str, MetricScore]
    costs: dict[str, float]

    @property
    def seed(self) -> int:
        return self.record.config["seed"]


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ only in their seed, or one run."""

    name: str
    runs: Sequence[ComparedRun]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def first(self) -> RunRecord:
        return self.runs[0].record

    def scores(self, label: str, own: bool = False) -> SeedScores:
        """Return a score by seed, of the runs that have it."""
        by_seed = {run.seed: (run.own_scores if own else run.scores).get(label) for run in self.runs}
        return {seed: scored.score for seed, scored in by_seed.items() if scored is not None}

    def cost(self, label: str) -> float | None:
        """Return a mean over the runs that have this cost."""
        values = [run.costs[label] for run in self.runs if label in run.costs]
        return sum(values) / len(values) if values else None


def read_compared_run(path: Path) -> ComparedRun:
    """Read a run, and everything of it that is compared; ReportError as in `read_run`."""
    return score_run(read_run(path))


def score_run(record: RunRecord) -> ComparedRun:
    """Read from a run everything that is compared; ReportError where a file of it is damaged."""
    task = {method: task_estimates(record, method) for method in record.task}
    scores = dict(_scores(record, task, estimates_by_row(record)))
    return ComparedRun(record, scores, dict(_own_scores(record, scores)), _costs(record))


def group_runs(runs: Sequence[ComparedRun]) -> list[RunGroup]:
    """Put runs that differ only in their seed into one group, in the order of the first run of each.

    Runs of one seed are not replicates, and are in different groups.
    """
    members: dict[tuple[str, int], list[ComparedRun]] = {}
    repeats: dict[tuple[str, int], int] = {}
    for run in runs:
        key = _identity(run.record)
        repeat = repeats.get((key, run.seed), 0)
        repeats[key, run.seed] = repeat + 1
        members.setdefault((key, repeat), []).append(run)
    groups = list(members.values())
    return [RunGroup(n, g) for n, g in zip(_group_names(groups, run_names(runs)), groups, strict=True)]


def run_names(runs: Sequence[ComparedRun]) -> dict[Path, str]:
    """Name each run by its path, with its folder where several have the same name."""
    paths = list(dict.fromkeys(run.record.path for run in runs))
    short = [path.resolve().name for path in paths]
    names = [
        name if short.count(name) == 1 else f"{path.resolve().parent.name}/{name}"
        for name, path in zip(short, paths, strict=True)
    ]
    return {
        path: name if names.count(name) == 1 else f"{name} ({i + 1})"
        for i, (path, name) in enumerate(zip(paths, names, strict=True))
    }


def settings_of(record: RunRecord) -> dict[str, Any]:
    """Return settings, data set, sites and code of a run, without what does not change its results."""
    settings = {key: value for key, value in record.config.items() if key not in OPERATING_SETTINGS}
    return settings | {
        "data set": record.schema.dataset if record.sites else None,
        "sites": ", ".join(record.sites) or None,
        "code": record.versions.get("code"),
    }


def _identity(record: RunRecord) -> str:
    return json.dumps(settings_of(record) | {"seed": None}, sort_keys=True, default=str)


def _group_names(groups: Sequence[Sequence[ComparedRun]], names: dict[Path, str]) -> list[str]:
    """Name each group by what the names of its runs begin with."""
    result: list[str] = []
    for group in groups:
        of_runs = [names[run.record.path] for run in group]
        name = of_runs[0]
        if len(group) > 1:
            common = os.path.commonprefix(of_runs).rstrip("-_. /").removesuffix("seed").rstrip("-_. /")
            name = f"{common or name} ({len(group)} seeds)"
        result.append(name if name not in result else f"{name} ({len(result) + 1})")
    return result


def _scores(
    run: RunRecord, task: dict[str, dict[str, Estimate]], errors: ImputationEstimates
) -> Iterator[tuple[str, MetricScore]]:
    """Yield the metrics of the task by method, and the RMSE by pattern and imputer."""
    for key, metric in TASK_METRICS.items():
        for method, metrics in run.task.items():
            if metrics.get(key) is not None:
                score = replace(task[method].get(key, NO_ESTIMATE), value=metrics[key])
                yield f"{metric.label}, {method}", MetricScore(metric, score)
    rmse = IMPUTATION_METRICS["rmse"]
    for pattern, imputers in run.imputation.items():
        for imputer in imputers_in_order({pattern: imputers}):
            label = f"{rmse.label} {missingness_label(pattern)}, {imputer_label(imputer)}"
            estimates = errors.get(pattern, {}).get(imputer, {})
            score = replace(estimates.get("rmse", NO_ESTIMATE), value=imputers[imputer]["rmse"])
            yield label, MetricScore(rmse, score)


def _own_scores(run: RunRecord, scores: dict[str, MetricScore]) -> Iterator[tuple[str, MetricScore]]:
    """Yield the primary metric of the run's method, and the mean RMSE of its imputer."""
    rmse = IMPUTATION_METRICS["rmse"]
    if run.sites and run.schema.labels:
        label = primary_metric(run.schema.task).label
        if scored := scores.get(f"{label}, {run.config['method']}"):
            yield label, scored
    rows: list[Estimate] = []
    for pattern, imputers in run.imputation.items():
        if own := find_own_imputer(imputers, run.scope):
            rows.append(scores[f"{rmse.label} {missingness_label(pattern)}, {imputer_label(own)}"].score)
    if rows and len(rows) == len(run.imputation):
        mean = combine(lambda *values: sum(values) / len(values), *rows)
        yield MEAN_RMSE, MetricScore(rmse, mean)


def _costs(run: RunRecord) -> dict[str, float]:
    costs: dict[str, float] = {
        "rounds": len(run.history),
        "seconds": sum(line.seconds for line in run.history),
        "bytes to sites": sum(line.bytes_down for line in run.history),
        "bytes from sites": sum(line.bytes_up for line in run.history),
    }
    return costs | {f"parameters, {model}": count for model, count in run.parameters().items()}
