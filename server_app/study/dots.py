"""The score of every method in each scenario, as dots with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from condi_core.evaluation.catalogue import TASK_METRICS
from server_app.study.labels import method_label, missingness_in_words, naive_first
from server_app.study.results import AS_IN_TRAINING, StudyCell
from server_app.study.statistics import mean_sd, patient_interval
from server_app.study.tables import group_by_scenario
from server_app.study.vector_graphics import remove_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS_OF_PANELS = 2
INCHES_PER_METHOD = 0.22


def draw_dots(cells: Sequence[StudyCell], metric: str) -> Figure:
    """Draw a panel for each scenario, with a row per method.

    Small dots are seeds, and the large one is their mean. The line is the 95 % interval over test
    patients, in runs that have it.
    """
    from matplotlib.figure import Figure

    scored = [cell for cell in cells if cell.metrics.get(metric) is not None]
    groups = group_by_scenario(scored)
    methods = naive_first([cell.method for cell in scored])
    columns = min(COLUMNS_OF_PANELS, len(groups))
    rows = -(-len(groups) // columns)
    height = rows * (0.9 + INCHES_PER_METHOD * len(methods))
    figure = Figure(figsize=(3.7 * columns + 1, height), layout="constrained")
    one_axis = len({data for data, *_ in groups}) == 1  # scores of other data are elsewhere
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=one_axis).ravel()
    for ax, (scenario, group) in zip(axes, groups.items(), strict=False):
        for i, method in enumerate(methods):
            scores = [cell.score(metric) for cell in group if cell.method == method]
            if not scores:
                continue
            colour = "C0" if method == "condi" else "0.35"
            low, high = patient_interval(scores)
            if not math.isnan(low):
                ax.plot([low, high], [i, i], color=colour, lw=1.2)
            ax.plot([score.value for score in scores], [i] * len(scores), ".", color=colour, ms=4, alpha=0.6)
            ax.plot(mean_sd([score.value for score in scores])[0], i, "o", color=colour, ms=5.5)
        ax.set_title(_panel_title(scenario), fontsize=9)
        ax.set_xlabel(TASK_METRICS[metric].label)
        ax.set_yticks(range(len(methods)), [method_label(method) for method in methods])
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_tick_params(labelbottom=True)  # also where a panel below has the same axis
        ax.grid(axis="x", color="0.9", lw=0.8)
        ax.set_axisbelow(True)
        remove_frame(ax)
    axes[0].invert_yaxis()  # the rows of all panels are shared
    for ax in axes[len(groups) :]:
        ax.set_visible(False)
    return figure


def _panel_title(scenario: tuple[str, str, str, str]) -> str:
    data, partition, missingness, test_missingness = scenario
    lines = [f"{data}, {partition}", f"missing: {missingness_in_words(missingness)}"]
    if test_missingness != AS_IN_TRAINING:
        lines.append(f"in test: {missingness_in_words(test_missingness)}")
    return "\n".join(lines)
