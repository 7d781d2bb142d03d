"""The tables of a study: overviews, and the results and cost of every scenario."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, TASK_METRICS, Metric, missingness_label
from condi_core.evaluation.imputers import imputer_label
from data_partitions.table import DASH, Cell, Table
from server_app.artifacts.estimates import Estimate
from server_app.study.comparison import comparison_table
from server_app.study.labels import NAIVE_IMPUTERS, method_label, missingness_in_words, naive_first
from server_app.study.ranking import SeedScores, rank_marks
from server_app.study.results import AS_IN_TRAINING, StudyCell
from server_app.study.score_cell import score_cell
from server_app.study.statistics import mean_sd

SEEDS_NOTE = "Mean ± sample standard deviation over seeds. "
PATIENTS_NOTE = (
    "Mean ± sample standard deviation over seeds, and in parentheses the 95 % interval over test patients. "
)
MARKS_NOTE = (
    "* marks the best mean over the seeds that all have; ~ marks a tie: a 95 % interval of the difference "
    "from the best, paired by seed (Student's t){patients}, includes 0{single}."
)
COST_NOTE = "Phase 1 counts for each method that uses its imputer."


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
        scenario = scenario_title(data, partition, missingness, test_missingness)
        tables += [
            task_table(group, scenario),
            imputation_table(group, scenario),
            cost_table(group, scenario),
        ]
    tables.append(comparison_table(cells, metric))
    return [table for table in tables if table is not None]


def scenario_title(data: str, partition: str, missingness: str, test_missingness: str) -> str:
    """Name a scenario in words, such as "ecg, natural; missingness: 20 % of points"."""
    title = f"{data}, {partition}; missingness: {missingness_in_words(missingness)}"
    in_test = missingness_in_words(test_missingness)
    return title if test_missingness == AS_IN_TRAINING else f"{title}; in test: {in_test}"


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
        pairs = [
            (missingness_in_words(group[0].missingness), missingness_in_words(group[0].missingness_in_test))
            for group in scenarios
        ]
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
        labels = [method_label(method) for method in methods]
        tables.append(_marked_table(title, columns, labels, values, [TASK_METRICS[metric]] * len(columns)))
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
    labels = [method_label(method) for method in methods]
    of_columns = [TASK_METRICS[metric] for metric in metrics]
    return _marked_table(f"Task, {scenario}", columns, labels, values, of_columns, last=("seeds", num_seeds))


def imputation_table(cells: Sequence[StudyCell], scenario: str) -> Table | None:
    """Return the RMSE of imputers in standard deviations, by missingness pattern."""
    # Every cell of a run has the same scores of imputers: one of each seed is enough.
    rmse: dict[tuple[str, str], dict[int, Estimate]] = {}
    for cell in cells:
        for pattern, imputers in cell.imputation.items():
            for imputer, metrics in imputers.items():
                if metrics.get("rmse") is not None:
                    score = cell.imputation_score(pattern, imputer, "rmse")
                    rmse.setdefault((pattern, imputer), {}).setdefault(cell.seed, score)
    if not rmse:
        return None
    patterns = list(dict.fromkeys(pattern for pattern, _ in rmse))
    names = naive_first([imputer for _, imputer in rmse], NAIVE_IMPUTERS)
    values = [[rmse.get((pattern, name), {}) for name in names] for pattern in patterns]
    return _marked_table(
        f"Imputation, RMSE, {scenario}",
        [missingness_label(pattern) for pattern in patterns],
        [imputer_label(name) for name in names],
        values,
        [IMPUTATION_METRICS["rmse"]] * len(patterns),
    )


def cost_table(cells: Sequence[StudyCell], scenario: str) -> Table:
    """Return what each method costs in a run."""
    rows = []
    for method in naive_first([cell.method for cell in cells]):
        group = [cell for cell in cells if cell.method == method]
        rows.append(
            [
                Cell(method_label(method)),
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


def _scores(cells: Sequence[StudyCell], method: str, metric: str) -> SeedScores:
    """Return a metric of a method by seed."""
    return {cell.seed: cell.score(metric) for cell in cells if cell.method == method}


def _marked_table(
    title: str,
    columns: Sequence[str],
    names: Sequence[str],
    values: Sequence[Sequence[SeedScores]],
    metrics: Sequence[Metric],
    last: tuple[str, Sequence[str]] | None = None,
) -> Table:
    """Return a table of mean ± standard deviation, with the best of each column marked.

    Parameters
    ----------
    title : title of the table
    columns, names : names of the columns and of the rows
    values : the scores over seeds, by column and row
    metrics : the metric of each column
    last : name and texts of a further column
    """
    rows: list[list[Cell]] = [[Cell(name)] for name in names]
    for column, metric in zip(values, metrics, strict=True):
        marks = rank_marks(column, metric.higher_is_better)
        for row, scores, mark in zip(rows, column, marks, strict=True):
            cell = score_cell(scores, metric)
            row.append(Cell(cell.text, cell.value, mark))
    header = ["", *columns]
    if last is not None:
        header.append(last[0])
        for row, text in zip(rows, last[1], strict=True):
            row.append(Cell(text))
    return Table(title, header, rows, _note([scores for column in values for scores in column]))


def _note(scores: Sequence[SeedScores]) -> str:
    """Explain deviations, intervals and marks, as far as the scores have them."""
    with_patients = any(score.replicates is not None for seeds in scores for score in seeds.values())
    several_seeds = any(len(seeds) > 1 for seeds in scores)
    if not (several_seeds or with_patients):
        return "One seed: * marks the best; ~ marks what is equal to it as printed."
    patients = " or over test patients" if with_patients else ""
    single = "" if several_seeds else "; with one seed there is no interval over seeds"
    start = PATIENTS_NOTE if with_patients else SEEDS_NOTE
    return start + MARKS_NOTE.format(patients=patients, single=single)


def _mean_sd_cell(values: Sequence[float], digits: int) -> Cell:
    mean, sd = mean_sd(values)
    if math.isnan(mean):
        return Cell(DASH)
    return Cell(f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}"), mean)


def _distinct_cell(texts: Iterable[str]) -> Cell:
    return Cell(", ".join(dict.fromkeys(texts)))
