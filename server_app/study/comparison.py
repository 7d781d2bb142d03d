"""CondI compared with each other method, over all scenarios of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence

from condi_core.evaluation.catalogue import TASK_METRICS
from data_partitions.table import DASH, Table
from server_app.artifacts.estimates import Estimate
from server_app.study.labels import method_label, naive_first
from server_app.study.results import StudyCell
from server_app.study.statistics import Comparison, adjust_holm, compare_pairs

COMPARISON_NOTE = (
    "Wilcoxon's signed-rank test, two-sided, if at least six pairs differ; otherwise Student's 95 % "
    "confidence interval. Both assume independent pairs. Scenarios of one seed and seeds of one data set "
    "share patients: they are not independent, so that p-values are too small and intervals too narrow. The "
    "scores of methods with a model per site are pooled over sites like all others, which assumes that they "
    "are on one scale."
)
PATIENTS = "95 % interval over test patients"


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
            "t": f"{_signed(c.low, metric)} to {_signed(c.high, metric)} (95 %, Student's t)",
            "none": "too few pairs that differ",
        }[c.test]
        rows.append([method_label(other), _signed(c.difference, metric), str(c.pairs), evidence])
        if not math.isnan(c.patients[0]):
            rows[-1].append(" to ".join(_signed(end, metric) for end in c.patients))
    label = TASK_METRICS[metric].label
    name = method_label(method)
    title = f"{name} compared with the other methods, {label}, over all scenarios"
    columns = [f"{name} minus", label, "pairs", "p-value or confidence interval"]
    if any(len(row) > len(columns) for row in rows):
        columns.append(PATIENTS)
        rows = [row + [DASH] * (len(columns) - len(row)) for row in rows]
    return Table(title, columns, rows, note=COMPARISON_NOTE)


def comparisons(cells: Sequence[StudyCell], metric: str, method: str = "condi") -> dict[str, Comparison]:
    """Compare a method with each other method, by its name, over pairs of the same scenario and seed.

    A method without a pair of defined scores is not compared.
    """
    scores: dict[str, dict[tuple, Estimate]] = {}
    for cell in cells:
        if cell.metrics.get(metric) is not None:
            scores.setdefault(cell.method, {})[cell.scenario, cell.seed] = cell.score(metric)
    results = {}
    for other in naive_first(list(scores)):
        pairs = [pair for pair in scores.get(method, {}) if pair in scores[other]]
        compared = compare_pairs(
            [scores[method][pair] for pair in pairs], [scores[other][pair] for pair in pairs]
        )
        if other != method and compared.pairs:
            results[other] = compared
    return results


def _signed(difference: float, metric: str) -> str:
    return ("" if difference < 0 else "+") + TASK_METRICS[metric].format(difference)
