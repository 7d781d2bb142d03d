"""Tables of a comparison of runs: settings that differ, ranking, scores, differences and costs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from condi_core.evaluation.catalogue import TASK_METRICS, Metric
from data_partitions.table import DASH, Cell, Mark, Table, Value
from server_app.report.compared_runs import MetricScore, RunGroup, run_names, settings_of
from server_app.report.configuration import setting_text
from server_app.report.markup import size
from server_app.study.ranking import DIGITS, SeedScores, difference_intervals, rank_marks, shared_scores
from server_app.study.score_cell import score_cell
from server_app.study.statistics import NO_INTERVAL, Interval, mean_sd, patient_interval

NOTE_OF_MARKS = (
    "* marks the best of a row over the seeds that all have, and ~ what ties with it: a 95 % interval of the "
    "difference, over seeds or over test patients, includes 0. Without an interval, only what is equal as "
    "printed ties."
)
NOTE_OF_DIFFERENCES = (
    "Of the seeds that both have, or of the means where they share none. Scores that are the same everywhere "
    "are omitted. In parentheses the wider of the 95 % intervals over seeds and over test patients, where "
    "there is one."
)
NOTE_OF_RANKS = (
    "By the first score, over the seeds that all have. Scores are of the run's own method and imputer, and "
    "imputation RMSE is the mean over the missingness patterns. One seed says little: seeds often differ "
    "more than settings."
)
NOTE_OF_OTHER_DATA = "The runs are not ranked, because they have different data sets or tasks."
MINUS = "−"


def all_tables_of(groups: Sequence[RunGroup]) -> dict[str, Table]:
    """Return the tables by the key of their section; those without rows are included."""
    first, others = groups[0], groups[1:]
    columns = ["", *(group.name for group in groups)]
    metrics = _metrics(groups)
    scores: list[list[Value]] = [[label, *_score_cells(groups, label, metrics[label])] for label in metrics]
    differences: list[list[Value]] = []
    for label, metric in metrics.items():
        cells = [_difference_cell(first, group, label, metric) for group in others]
        if any(cell.value for cell in cells):  # scores that all have in common say nothing
            differences.append([label, *cells])
    costs: list[list[Value]] = [
        [label, *(_cost_cell(label, group.cost(label)) for group in groups)] for label in _costs(groups)
    ]
    settings: list[list[Value]] = [[key, *values] for key, values in differing_settings(groups).items()]
    return {
        "settings": Table("Settings that differ", columns, settings),
        "ranking": _ranking(groups),
        "scores": Table("Results on test windows", columns, scores, NOTE_OF_MARKS),
        "differences": Table(
            f"Difference from {first.name}", columns[:1] + columns[2:], differences, NOTE_OF_DIFFERENCES
        ),
        "cost": Table("Cost of a run", columns, costs),
    }


def comparison_text(groups: Sequence[RunGroup], width: int) -> str:
    """Write the tables for a terminal, `width` characters wide; a table of many runs becomes several."""
    tables = all_tables_of(groups).values()
    return "\n\n".join(text for table in tables for text in _fitting_texts(table, width))


def as_json(groups: Sequence[RunGroup], unreadable: Mapping[str, str]) -> str:
    """Write everything as JSON for scripts, NaN as null.

    Parameters
    ----------
    groups : sequence of RunGroup
    unreadable : mapping of str to str
        Path of a run that could not be read → the reason.
    """
    names = run_names([run for group in groups for run in group.runs])
    differing = differing_settings(groups)
    runs = {
        names[run.record.path]: {
            "path": str(run.record.path),
            "finished": run.record.result is not None,
            "group": group.name,
            "settings": {k: v for k, v in settings_of(run.record).items() if k in differing},
            "results": {label: _json_number(scored.score.value) for label, scored in run.scores.items()},
            "cost": run.costs,
        }
        for group in groups
        for run in group.runs
    }
    places = _places(groups)
    described = {
        group.name: {
            "runs": [names[run.record.path] for run in group.runs],
            "seeds": group.seeds,
            "rank": places.get(group.name),
            "results": {
                label: _json_score(groups[0], group, label)
                for label in _metrics(groups)
                if group.scores(label)
            },
        }
        for group in groups
    }
    return json.dumps({"runs": runs, "groups": described, "unreadable": dict(unreadable)}, indent=1)


def differing_settings(groups: Sequence[RunGroup]) -> dict[str, list[str | None]]:
    """Return settings, data set, sites and code as text by group, where the groups differ in them."""
    settings = [settings_of(group.first) for group in groups]
    keys = dict.fromkeys(key for of_group in settings for key in of_group)
    rows: dict[str, list[str | None]] = {}
    for key in keys:
        values = [of_group.get(key) for of_group in settings]
        rows[key] = [None if value is None else setting_text(value) for value in values]
    rows["seed"] = [", ".join(map(str, group.seeds)) for group in groups]
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _metrics(groups: Sequence[RunGroup]) -> dict[str, Metric]:
    """Return the metrics of all scores by label: those of tasks in the order of the catalogue come first."""
    runs = [run for group in groups for run in group.runs]
    metrics = {label: scored.metric for run in runs for label, scored in run.scores.items()}
    order: list[Metric] = list(TASK_METRICS.values())
    places = {label: order.index(m) if m in order else len(order) for label, m in metrics.items()}
    return {label: metrics[label] for label in sorted(metrics, key=places.__getitem__)}


def _costs(groups: Sequence[RunGroup]) -> list[str]:
    return list(dict.fromkeys(label for group in groups for run in group.runs for label in run.costs))


def _score_cells(groups: Sequence[RunGroup], label: str, metric: Metric) -> Iterator[Value]:
    """Yield mean ± standard deviation; the best and its ties are marked unless all are equal."""
    scores = [group.scores(label) for group in groups]
    cells = [score_cell(of_group, metric) for of_group in scores]
    printed = {metric.format(cell.value) for cell in cells if cell.value is not None}
    marks: list[Mark] = [""] * len(scores)
    if len(printed) > 1:
        marks = rank_marks(scores, metric.higher_is_better)
    for cell, mark in zip(cells, marks, strict=True):
        yield Cell(cell.text, cell.value, mark)


def _difference_cell(first: RunGroup, other: RunGroup, label: str, metric: Metric, own: bool = False) -> Cell:
    difference, interval = _difference(first.scores(label, own), other.scores(label, own))
    if math.isnan(difference):
        return Cell(DASH)
    ends = f" ({' to '.join(_signed(metric, end) for end in interval)})" if interval else ""
    return Cell(_signed(metric, difference) + ends, difference)


def _difference(first: SeedScores, other: SeedScores) -> tuple[float, Interval | None]:
    """Return how much larger the other score is, of equal seeds if there are any, and its wider interval."""
    shared = [seed for seed in first if seed in other]
    means = [
        mean_sd([score.value for seed, score in scores.items() if seed in shared or not shared])[0]
        for scores in (first, other)
    ]
    intervals = difference_intervals(other, first)
    return means[1] - means[0], max(intervals, key=lambda ends: ends[1] - ends[0], default=None)


def _signed(metric: Metric, value: float) -> str:
    text = metric.format(abs(value))
    return text if float(f"{value:.{DIGITS}f}") == 0 else f"{MINUS if value < 0 else '+'}{text}"


def _own_metrics(groups: Sequence[RunGroup]) -> dict[str, MetricScore]:
    """Return the scores by which groups are ranked, by label; none where their data differ."""
    data = {(g.first.schema.dataset, g.first.schema.task) for g in groups if g.first.sites}
    if len(data) != 1:
        return {}
    return {
        label: scored for group in groups for run in group.runs for label, scored in run.own_scores.items()
    }


def _places(groups: Sequence[RunGroup]) -> dict[str, int]:
    """Return the place of each group, by the first score that any of them has, over seeds that all share."""
    label, scored = next(iter(_own_metrics(groups).items()), ("", None))
    if scored is None:
        return {}
    shared = shared_scores([g.scores(label, own=True) for g in groups])
    means = {
        g.name: mean_sd([score.value for score in scores.values()])[0]
        for g, scores in zip(groups, shared, strict=True)
    }
    known = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    sign = 1 if scored.metric.higher_is_better is not False else -1
    return {
        name: 1 + sum(sign * other > sign * mean for other in known.values()) for name, mean in known.items()
    }


def _ranking(groups: Sequence[RunGroup]) -> Table:
    """Return a row for each group, the best first."""
    metrics, places = _own_metrics(groups), _places(groups)
    columns = ["run", "place", "method"]
    for label in metrics:
        columns += [label, "difference"]
    rows: list[list[Value]] = []
    marks = {
        label: rank_marks([g.scores(label, own=True) for g in groups], scored.metric.higher_is_better)
        for label, scored in metrics.items()
    }
    for i in sorted(range(len(groups)), key=lambda i: places.get(groups[i].name, math.inf)):
        group = groups[i]
        row: list[Value] = [group.name, places.get(group.name), group.first.config["method"]]
        for label, scored in metrics.items():
            cell = score_cell(group.scores(label, own=True), scored.metric)
            row.append(Cell(cell.text, cell.value, marks[label][i]))
            row.append(
                _difference_cell(groups[0], group, label, scored.metric, own=True) if i else Cell(DASH)
            )
        rows.append(row)
    note = f"Differences are from {groups[0].name}. {NOTE_OF_RANKS}" if metrics else NOTE_OF_OTHER_DATA
    return Table("Ranking", columns, rows, note)


def _cost_cell(label: str, value: float | None) -> Value:
    if value is not None and label.startswith("bytes"):
        return size(value)
    return Cell(f"{value:.1f}", value) if value is not None and label == "seconds" else value


def _fitting_texts(table: Table, width: int) -> Iterator[str]:
    """Yield the table, or tables of fewer columns where it is wider than the terminal."""
    text = table.to_text(width)
    if len(table.columns) <= 2 or max(map(len, text.splitlines())) <= width:
        yield text
        return
    middle = (len(table.columns) + 1) // 2
    for columns in ([0, *range(1, middle)], [0, *range(middle, len(table.columns))]):
        rows = [[row[j] for j in columns] for row in table.rows]
        note = table.note if columns[-1] == len(table.columns) - 1 else ""
        part = Table(table.title, [table.columns[j] for j in columns], rows, note)
        yield from _fitting_texts(part, width)


def _json_score(first: RunGroup, group: RunGroup, label: str) -> dict[str, Any]:
    scores = group.scores(label)
    mean, sd = mean_sd([score.value for score in scores.values()])
    low, high = patient_interval(list(scores.values()))
    content: dict[str, Any] = {
        "mean": mean,
        "sd": sd,
        "runs": len(scores),
        "interval over patients": [low, high],
    }
    if group is not first:
        difference, interval = _difference(first.scores(label), scores)
        content |= {"difference": difference, "interval of the difference": list(interval or NO_INTERVAL)}
    return {
        key: [_json_number(v) for v in value] if isinstance(value, list) else _json_number(value)
        for key, value in content.items()
    }


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
