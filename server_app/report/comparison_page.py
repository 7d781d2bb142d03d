"""The page of a comparison of runs: its tables, with figures of scores and of validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, MEAN_LOSS, TASK_METRICS, missingness_label
from condi_core.evaluation.imputers import find_own_imputer
from server_app.artifacts.run_record import RunRecord
from server_app.report.compared_runs import RunGroup, run_names
from server_app.report.comparison import all_tables_of
from server_app.report.figures import Series, bars, lines
from server_app.report.markup import figure_row, page, section


def comparison_page(groups: Sequence[RunGroup], unreadable: Mapping[str, str]) -> str:
    """Write the tables of a comparison as a page, with figures.

    Parameters
    ----------
    groups : sequence of RunGroup
    unreadable : mapping of str to str
        Path of a run that could not be read → the reason.

    Returns
    -------
    str
        HTML.
    """
    tables = {key: table.to_html() for key, table in all_tables_of(groups).items()}
    sections = [
        section("Ranking", tables["ranking"]),
        section("Settings", tables["settings"]),
        section("Test windows", figure_row(*_figures(groups)), tables["scores"], tables["differences"]),
        section("Validation", figure_row(*_curves(groups))),
        section("Cost", tables["cost"]),
    ]
    return page("Comparison of runs", _summary(groups, unreadable), sections)


def _summary(groups: Sequence[RunGroup], unreadable: Mapping[str, str]) -> str:
    runs = [run for group in groups for run in group.runs]
    names = run_names(runs)
    sentences = [f"{len(runs)} runs."]
    if len(groups) < len(runs):
        sentences = [f"{len(runs)} runs in {len(groups)} groups; runs of a group differ only in their seed."]
    if unfinished := [names[run.record.path] for run in runs if run.record.result is None]:
        sentences.append(f"Not finished: {', '.join(unfinished)}.")
    sentences += [f"Left out: {reason}." for reason in unreadable.values()]
    return " ".join(sentences)


def _figures(groups: Sequence[RunGroup]) -> list[str]:
    records = [run.record for group in groups for run in group.runs]
    patterns = list(dict.fromkeys(pattern for record in records for pattern in record.imputation))
    methods = list(dict.fromkeys(method for record in records for method in record.task))
    scored = [metrics for record in records for metrics in record.task.values()]
    metric = next(
        (m for m in TASK_METRICS.values() if any(m.name in metrics for metrics in scored)),
        next(iter(TASK_METRICS.values())),
    )
    errors = {g.name: [_mean(_own_rmse(r.record, p) for r in g.runs) for p in patterns] for g in groups}
    scores = {
        g.name: [_mean(r.record.task.get(m, {}).get(metric.name) for r in g.runs) for m in methods]
        for g in groups
    }
    rmse = IMPUTATION_METRICS["rmse"].label
    labels = [missingness_label(pattern) for pattern in patterns]
    return [
        bars(f"Imputation {rmse} on test windows", labels, errors, rmse),
        bars(f"{metric.label} on test windows, by method", methods, scores, metric.label),
    ]


def _own_rmse(record: RunRecord, pattern: str) -> float | None:
    imputers = record.imputation.get(pattern, {})
    own = find_own_imputer(imputers, record.scope)
    return imputers[own]["rmse"] if own else None


def _curves(groups: Sequence[RunGroup]) -> list[str]:
    """Draw the validation score of each phase, with a line for each group: the mean over its seeds."""
    figures = []
    records = [run.record for group in groups for run in group.runs]
    for phase in dict.fromkeys(phase for record in records for phase in record.phases):
        series = [Series(group.name, _curve(group, phase)) for group in groups]
        rmse = IMPUTATION_METRICS["rmse"].label
        name, label = (rmse, rmse) if phase.startswith("imputer") else ("loss", MEAN_LOSS.label)
        figures.append(lines(f"{phase}: validation {name}", series, "round", label, integers=True))
    return figures


def _curve(group: RunGroup, phase: str) -> list[tuple[float, float]]:
    by_round: dict[int, list[float | None]] = {}
    for run in group.runs:
        for line in run.record.phases.get(phase, []):
            by_round.setdefault(line.round, []).append(line.metrics.get("score"))
    return [(round_, _mean(values)) for round_, values in sorted(by_round.items())]


def _mean(values: Iterable[float | None]) -> float:
    """Return the mean of the values that are known and finite; NaN without any."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
