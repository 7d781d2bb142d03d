"""The tables of a study, made of its cells: as text, markdown and html."""

from __future__ import annotations

import math
from collections.abc import Sequence

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    IMPUTER_ROWS,
    TASK_METRICS,
    imputer_label,
    missingness_label,
)
from condi_core.methods import NAIVE_METHODS
from data_partitions.table import DASH, Cell, Table
from server_app.study.results import Row
from server_app.study.statistics import Comparison, compare, holm, mean_sd, rank_marks

LEGEND = "Mean ± sample standard deviation over seeds. * best; ~ as near to it as the larger deviation."


def in_order(methods: Sequence[str], naive: Sequence[str] = NAIVE_METHODS) -> list[str]:
    """Naive ones first, the others as they come."""
    found = list(dict.fromkeys(methods))
    return [m for m in naive if m in found] + [m for m in found if m not in naive]


def by_scenario(rows: Sequence[Row]) -> dict[tuple, list[Row]]:
    """Rows of what is compared with each other, by (data, partition, holes, test holes)."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("data", "partition", "missingness", "test-missingness"))
        found.setdefault(key, []).append(row)
    return found


def all_tables(rows: Sequence[Row], metric: str) -> list[Table]:
    """An overview; task, imputation and cost of every scenario; CondI beside each other method over all."""
    found: list[Table | None] = [*overview_tables(rows, metric)]
    for key, cells in by_scenario(rows).items():
        where = f"{key[0]}, {key[1]}; missingness: {key[2]}; in test: {key[3]}"
        found += [task_table(cells, where), imputation_table(cells, where), cost_table(cells, where)]
    found.append(comparison_table(rows, metric))
    return [table for table in found if table is not None]


def overview_tables(rows: Sequence[Row], metric: str) -> list[Table]:
    """One metric by what test windows lack, of each data set and partition with more than one scenario."""
    groups: dict[tuple, list[list[Row]]] = {}
    for (data, partition, *_), cells in by_scenario([r for r in rows if r.get(metric) is not None]).items():
        groups.setdefault((data, partition), []).append(cells)
    found = []
    for (data, partition), scenarios in groups.items():
        if len(scenarios) < 2:
            continue
        missingness = [(str(cells[0]["missingness"]), str(cells[0]["tested-on"])) for cells in scenarios]
        columns, trained = [tested for _, tested in missingness], {training for training, _ in missingness}
        if all(training == tested for training, tested in missingness):
            told = "holes in training and in test"
        elif len(trained) == 1:
            told = f"holes in test, trained with {trained.pop()}"
        else:
            told, columns = "holes in training → in test", [" → ".join(pair) for pair in missingness]
        methods = in_order([str(row["method"]) for cells in scenarios for row in cells])
        values = [
            [[r[metric] for r in cells if r["method"] == name] for name in methods] for cells in scenarios
        ]
        title = f"{TASK_METRICS[metric].label}, {data}, {partition}; {told}"
        found.append(
            _marked(
                title,
                ["", *columns],
                methods,
                values,
                [bool(TASK_METRICS[metric].higher_is_better)] * len(columns),
            )
        )
    return found


def task_table(rows: Sequence[Row], where: str) -> Table:
    """Metrics of the task on test windows, a row per method."""
    metrics = [m for m in TASK_METRICS if any(row.get(m) is not None for row in rows)]
    methods = in_order([str(row["method"]) for row in rows])
    values = {(n, m): [row[m] for row in rows if row["method"] == n] for n in methods for m in metrics}
    seeds = [len(values[name, metrics[0]]) for name in methods]
    columns = ["", *(TASK_METRICS[m].label for m in metrics), "seeds"]
    return _marked(f"Task, {where}", columns, methods, [[values[n, m] for n in methods] for m in metrics],
                   [bool(TASK_METRICS[m].higher_is_better) for m in metrics], [str(n) for n in seeds])  # fmt: skip


def imputation_table(rows: Sequence[Row], where: str) -> Table | None:
    """RMSE of imputers on the samples that each kind of scored holes hides, in standard deviations."""
    told: dict[tuple[str, str], dict[int, float]] = {}  # a run scores its imputers once, whatever its methods
    for row in rows:
        for key, value in row.items():
            if key.startswith("imputation: ") and key.endswith(": rmse") and value is not None:
                _, kind, name, _ = key.split(": ")
                told.setdefault((kind, name), {}).setdefault(int(row["seed"]), float(value))
    if not told:
        return None
    kinds, names = (list(dict.fromkeys(part)) for part in zip(*told, strict=True))
    names = in_order(names, [row.name for row in IMPUTER_ROWS.values() if row.naive])
    values = [[list(told.get((kind, name), {}).values()) for name in names] for kind in kinds]
    return _marked(
        f"Imputation, RMSE, {where}",
        ["", *map(missingness_label, kinds)],
        [imputer_label(name) for name in names],
        values,
        [bool(IMPUTATION_METRICS["rmse"].higher_is_better)] * len(kinds),
    )


def cost_table(rows: Sequence[Row], where: str) -> Table:
    """What each method costs a run; that of phase 1 is in each method that uses it."""
    out: list[list[Cell]] = []
    for name in in_order([str(row["method"]) for row in rows]):
        mine = [row for row in rows if row["method"] == name]
        measured = (("seconds", 1), ("bytes-down", 1e6), ("bytes-up", 1e6))
        fixed = (("parameters", ","), ("local-steps", ","), ("learning-rate", "g"))
        out.append(
            [Cell(name)]
            + [_number([row[key] for row in mine], scale, 1) for key, scale in measured]
            + [Cell(", ".join(dict.fromkeys(format(row[key], how) for row in mine))) for key, how in fixed]
        )
    columns = ["", "seconds", "MB down", "MB up", "parameters", "local steps", "learning rate"]
    return Table(f"Cost, {where}", columns, out, note="Phase 1 counts for each method that completes by it.")


def comparison_table(rows: Sequence[Row], metric: str, ours: str = "condi") -> Table | None:
    """Ours beside each other method, over the cells that both have: same scenario, same seed."""
    found = comparisons(rows, metric, ours)
    if not found:
        return None
    adjusted = dict(zip(found, holm([c.p for c in found.values()]), strict=True))
    out = []
    for name, c in found.items():
        sure = {
            "Wilcoxon": f"p = {c.p:.2g} (Holm {adjusted[name]:.2g})",
            "t": f"{c.low:+.3f} to {c.high:+.3f} (95 %, Student's t)",
            "none": "too few pairs that differ",
        }[c.test]
        out.append([name, f"{c.difference:+.3f}", str(c.pairs), sure])
    note = (
        "Wilcoxon's signed-rank test, two-sided, from six pairs that differ on, else Student's interval. "
        "Both take pairs for independent. Scenarios of one seed and seeds of one data set are not: they "
        "share patients, so p is too small and an interval too narrow. Scores of methods with a model per "
        "site are pooled over sites like all others, which asks that they are on one scale."
    )
    columns = [f"{ours} less", TASK_METRICS[metric].label, "pairs", "how sure"]
    return Table(
        f"{ours} and the others, {TASK_METRICS[metric].label}, over all scenarios", columns, out, note=note
    )


def comparisons(rows: Sequence[Row], metric: str, ours: str = "condi") -> dict[str, Comparison]:
    """Of each other method, by its name."""
    score: dict[str, dict[tuple, float]] = {}
    for row in rows:
        if row.get(metric) is not None:
            where = tuple(
                row[key] for key in ("data", "partition", "missingness", "test-missingness", "seed")
            )
            score.setdefault(str(row["method"]), {})[where] = float(row[metric])
    found = {}
    for name in in_order(list(score)):
        both = [where for where in score.get(ours, {}) if where in score[name]]
        if name != ours and both:
            found[name] = compare([score[ours][w] for w in both], [score[name][w] for w in both])
    return found


def _marked(
    title: str,
    columns: list[str],
    names: list[str],
    values: list[list[list[float]]],  # by column, by name
    higher: list[bool],
    last: list[str] | None = None,
) -> Table:
    rows: list[list[Cell]] = [[Cell(name)] for name in names]
    for column, up in zip(values, higher, strict=True):
        for i, mark in enumerate(rank_marks([mean_sd(v) for v in column], up)):
            cell = _number(column[i])
            rows[i].append(Cell(cell.text, cell.value, mark))
    for row, told in zip(rows, last or [], strict=False):
        row.append(Cell(told))
    return Table(title, columns, rows, LEGEND)


def _number(values: Sequence[float], scale: float = 1.0, digits: int = 3) -> Cell:
    mean, sd = mean_sd([value / scale for value in values])
    if math.isnan(mean):
        return Cell(DASH)
    return Cell(f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}"), mean)
