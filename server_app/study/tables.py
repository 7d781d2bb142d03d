"""The tables of a study: overviews, the results and cost of every scenario, and CondI against each method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    IMPUTER_ROWS,
    TASK_METRICS,
    Metric,
    imputer_label,
    missingness_label,
)
from condi_core.methods import NAIVE_METHODS
from data_partitions.table import DASH, Cell, Table
from server_app.study.results import StudyCell
from server_app.study.statistics import Comparison, adjust_holm, compare_pairs, mean_sd, rank_marks

NAIVE_IMPUTERS = [row.name for row in IMPUTER_ROWS.values() if row.naive]
MARKS_NOTE = (
    "Mean ± sample standard deviation over seeds. * marks the best; ~ marks means that differ from it by no "
    "more than the larger of the two standard deviations."
)
COST_NOTE = "Phase 1 counts for each method that uses its imputer."
COMPARISON_NOTE = (
    "Wilcoxon's signed-rank test, two-sided, if at least six pairs differ; otherwise Student's 95 % "
    "confidence interval. Both assume independent pairs. Scenarios of one seed and seeds of one data set "
    "share patients: they are not independent, so that p-values are too small and intervals too narrow. The "
    "scores of methods with a model per site are pooled over sites like all others, which assumes that they "
    "are on one scale."
)


def naive_first(methods: Sequence[str], naive: Sequence[str] = NAIVE_METHODS) -> list[str]:
    """Order methods: naive baselines first, then the others in their order; each once."""
    unique = list(dict.fromkeys(methods))
    return [m for m in naive if m in unique] + [m for m in unique if m not in naive]


def group_by_scenario(cells: Sequence[StudyCell]) -> dict[tuple[str, str, str, str], list[StudyCell]]:
    """Group the cells that are compared with each other."""
    groups: dict[tuple[str, str, str, str], list[StudyCell]] = {}
    for cell in cells:
        groups.setdefault(cell.scenario, []).append(cell)
    return groups


def all_tables(cells: Sequence[StudyCell], metric: str) -> list[Table]:
    """Return overviews; task, imputation and cost of every scenario; and the comparison over all of them."""
    tables: list[Table | None] = [*overview_tables(cells, metric)]
    for (data, partition, missingness, test_missingness), group in group_by_scenario(cells).items():
        scenario = f"{data}, {partition}; missingness: {missingness}; in test: {test_missingness}"
        tables += [
            task_table(group, scenario),
            imputation_table(group, scenario),
            cost_table(group, scenario),
        ]
    tables.append(comparison_table(cells, metric))
    return [table for table in tables if table is not None]


def overview_tables(cells: Sequence[StudyCell], metric: str) -> list[Table]:
    """Return one metric over missingness, for each data set and partition with several scenarios."""
    groups: dict[tuple[str, str], list[list[StudyCell]]] = {}
    scored = [cell for cell in cells if cell.metrics.get(metric) is not None]
    for (data, partition, *_), scenario_cells in group_by_scenario(scored).items():
        groups.setdefault((data, partition), []).append(scenario_cells)
    tables = []
    for (data, partition), scenarios in groups.items():
        if len(scenarios) < 2:
            continue
        pairs = [(group[0].missingness, group[0].missingness_in_test) for group in scenarios]
        training = {train for train, _ in pairs}
        columns = [test for _, test in pairs]
        if all(train == test for train, test in pairs):
            heading = "missingness in training and test"
        elif len(training) == 1:
            heading = f"missingness in test, trained with {training.pop()}"
        else:
            heading = "missingness in training → in test"
            columns = [f"{train} → {test}" for train, test in pairs]
        methods = naive_first([cell.method for group in scenarios for cell in group])
        values = [[_scores(group, method, metric) for method in methods] for group in scenarios]
        title = f"{TASK_METRICS[metric].label}, {data}, {partition}; {heading}"
        higher = [_is_higher_better(TASK_METRICS[metric])] * len(columns)
        tables.append(_marked_table(title, columns, methods, values, higher))
    return tables


def scored_metric(cells: Sequence[StudyCell], metric: str) -> str:
    """Return the study's metric, or the first of the catalogue that a cell has, where none has that one."""
    scored = [name for name in TASK_METRICS if any(cell.metrics.get(name) is not None for cell in cells)]
    return metric if metric in scored else next(iter(scored), metric)


def task_table(cells: Sequence[StudyCell], scenario: str) -> Table | None:
    """Return the metrics of the task on test windows, a row per method; None for data without labels."""
    metrics = [m for m in TASK_METRICS if any(cell.metrics.get(m) is not None for cell in cells)]
    if not metrics:
        return None
    methods = naive_first([cell.method for cell in cells])
    values = [[_scores(cells, method, metric) for method in methods] for metric in metrics]
    num_seeds = [str(sum(cell.method == method for cell in cells)) for method in methods]
    columns = [TASK_METRICS[metric].label for metric in metrics]
    higher = [_is_higher_better(TASK_METRICS[metric]) for metric in metrics]
    return _marked_table(f"Task, {scenario}", columns, methods, values, higher, last=("seeds", num_seeds))


def imputation_table(cells: Sequence[StudyCell], scenario: str) -> Table | None:
    """Return the RMSE of imputers in standard deviations, by missingness pattern."""
    # Every cell of a run has the same scores of imputers: one of each seed is enough.
    rmse: dict[tuple[str, str], dict[int, float]] = {}
    for cell in cells:
        for pattern, imputers in cell.imputation.items():
            for imputer, metrics in imputers.items():
                if metrics.get("rmse") is not None:
                    rmse.setdefault((pattern, imputer), {}).setdefault(cell.seed, metrics["rmse"])
    if not rmse:
        return None
    patterns = list(dict.fromkeys(pattern for pattern, _ in rmse))
    names = naive_first([imputer for _, imputer in rmse], NAIVE_IMPUTERS)
    values = [[list(rmse.get((pattern, name), {}).values()) for name in names] for pattern in patterns]
    return _marked_table(
        f"Imputation, RMSE, {scenario}",
        [missingness_label(pattern) for pattern in patterns],
        [imputer_label(name) for name in names],
        values,
        [_is_higher_better(IMPUTATION_METRICS["rmse"])] * len(patterns),
    )


def cost_table(cells: Sequence[StudyCell], scenario: str) -> Table:
    """Return what each method costs in a run."""
    rows = []
    for method in naive_first([cell.method for cell in cells]):
        group = [cell for cell in cells if cell.method == method]
        rows.append(
            [
                Cell(method),
                _mean_sd_cell([cell.seconds for cell in group], digits=1),
                _mean_sd_cell([cell.bytes_down / 1e6 for cell in group], digits=1),
                _mean_sd_cell([cell.bytes_up / 1e6 for cell in group], digits=1),
                _distinct_cell(f"{cell.parameters:,}" for cell in group),
                _distinct_cell(f"{cell.local_steps:,}" for cell in group),
                _distinct_cell(f"{cell.learning_rate:g}" for cell in group),
            ]
        )
    columns = ["", "seconds", "MB down", "MB up", "parameters", "local steps", "learning rate"]
    return Table(f"Cost, {scenario}", columns, rows, note=COST_NOTE)


def comparison_table(cells: Sequence[StudyCell], metric: str, method: str = "condi") -> Table | None:
    """Return a method compared with each other method, over the pairs of cells that both have."""
    results = comparisons(cells, metric, method)
    if not results:
        return None
    adjusted = dict(zip(results, adjust_holm([c.p for c in results.values()]), strict=True))
    rows = []
    for other, c in results.items():
        evidence = {
            "Wilcoxon": f"p = {c.p:.2g} (Holm {adjusted[other]:.2g})",
            "t": f"{c.low:+.3f} to {c.high:+.3f} (95 %, Student's t)",
            "none": "too few pairs that differ",
        }[c.test]
        rows.append([other, f"{c.difference:+.3f}", str(c.pairs), evidence])
    label = TASK_METRICS[metric].label
    title = f"{method} compared with the other methods, {label}, over all scenarios"
    columns = [f"{method} minus", label, "pairs", "p-value or confidence interval"]
    return Table(title, columns, rows, note=COMPARISON_NOTE)


def comparisons(cells: Sequence[StudyCell], metric: str, method: str = "condi") -> dict[str, Comparison]:
    """Compare a method with each other method, by its name, over pairs of the same scenario and seed."""
    scores: dict[str, dict[tuple, float]] = {}
    for cell in cells:
        if (score := cell.metrics.get(metric)) is not None:
            scores.setdefault(cell.method, {})[cell.scenario, cell.seed] = score
    results = {}
    for other in naive_first(list(scores)):
        pairs = [pair for pair in scores.get(method, {}) if pair in scores[other]]
        if other != method and pairs:
            results[other] = compare_pairs(
                [scores[method][pair] for pair in pairs], [scores[other][pair] for pair in pairs]
            )
    return results


def _scores(cells: Sequence[StudyCell], method: str, metric: str) -> list[float]:
    """Return a metric of a method over the seeds."""
    scores = [cell.metrics.get(metric) for cell in cells if cell.method == method]
    return [math.nan if score is None else score for score in scores]


def _marked_table(
    title: str,
    columns: Sequence[str],
    names: Sequence[str],
    values: Sequence[Sequence[Sequence[float]]],
    higher_is_better: Sequence[bool],
    last: tuple[str, Sequence[str]] | None = None,
) -> Table:
    """Return a table of mean ± standard deviation, with the best of each column marked.

    Parameters
    ----------
    title : title of the table
    columns, names : names of the columns and of the rows
    values : the values over seeds, by column and row
    higher_is_better : whether the best of each column is the highest
    last : name and texts of a further column
    """
    rows: list[list[Cell]] = [[Cell(name)] for name in names]
    for column, is_higher_better in zip(values, higher_is_better, strict=True):
        marks = rank_marks([mean_sd(seeds) for seeds in column], is_higher_better)
        for row, seeds, mark in zip(rows, column, marks, strict=True):
            cell = _mean_sd_cell(seeds)
            row.append(Cell(cell.text, cell.value, mark))
    header = ["", *columns]
    if last is not None:
        header.append(last[0])
        for row, text in zip(rows, last[1], strict=True):
            row.append(Cell(text))
    return Table(title, header, rows, MARKS_NOTE)


def _is_higher_better(metric: Metric) -> bool:
    return metric.higher_is_better is not False


def _mean_sd_cell(values: Sequence[float], digits: int = 3) -> Cell:
    mean, sd = mean_sd(values)
    if math.isnan(mean):
        return Cell(DASH)
    return Cell(f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}"), mean)


def _distinct_cell(texts: Iterable[str]) -> Cell:
    return Cell(", ".join(dict.fromkeys(texts)))
