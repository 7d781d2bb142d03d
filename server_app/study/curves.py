"""Curves of a metric over the fraction that is missing in test windows, with a line per method."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from condi_core.evaluation.catalogue import TASK_METRICS
from server_app.study.labels import method_label, missingness_in_words, naive_first
from server_app.study.results import AS_IN_TRAINING, StudyCell
from server_app.study.statistics import mean_sd
from server_app.study.vector_graphics import MARKERS, NUM_COLOURS, remove_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# "20 % of" in "20 % of points, 50 % in gaps".
_AMOUNT = re.compile(r"(^|, )[\d.]+( %)?( of| in)? ")


@dataclass(frozen=True)
class Panel:
    """One plot; the line of a method has (missing fraction, mean, standard deviation) of each scenario."""

    title: str
    lines: dict[str, list[tuple[float, float, float]]]


def curve_panels(cells: Sequence[StudyCell], metric: str) -> list[Panel]:
    """Return a panel for each data set, partition and missingness pattern with more than one fraction.

    A pattern is the set of mechanisms that take part; no missingness at all belongs to every pattern. Where
    the missingness of test windows differs from that of training, each training has a panel of its own.
    """
    groups: dict[tuple[str, str, str], list[StudyCell]] = {}
    for cell in cells:
        groups.setdefault((cell.data, cell.partition, _pattern(cell)), []).append(cell)
    panels = []
    for (data, partition, pattern), group in groups.items():
        if not pattern:
            continue
        members = group + [c for c in cells if c not in group and _is_endpoint(c, data, partition, pattern)]
        lines = {}
        for method in naive_first([cell.method for cell in members]):
            # Scenarios that hide the same share in different ways are not seeds of one.
            by_scenario: dict[tuple[float, str], list[float]] = {}
            for cell in members:
                score = cell.metrics.get(metric)
                if cell.method == method and score is not None:
                    key = round(cell.missing_fraction_in_test, 6), cell.missingness_in_test
                    by_scenario.setdefault(key, []).append(score)
            if by_scenario:
                lines[method] = [(key[0], *mean_sd(scores)) for key, scores in sorted(by_scenario.items())]
        if any(len({fraction for fraction, *_ in line}) > 1 for line in lines.values()):
            panels.append(Panel(f"{data}, {partition}: {pattern}", lines))
    return panels


def _pattern(cell: StudyCell) -> str:
    """Return the pattern that a cell's panel shows; empty without missingness."""
    words = missingness_in_words(cell.missingness)
    if cell.test_missingness != AS_IN_TRAINING:
        return f"trained with {words}"
    return _AMOUNT.sub(r"\1", words) if cell.missingness != "none" else ""


def _is_endpoint(cell: StudyCell, data: str, partition: str, pattern: str) -> bool:
    """Return whether a cell of another pattern is a point of a panel.

    It is one without any missingness, or with the same missingness as the panel's training.
    """
    if (cell.data, cell.partition) != (data, partition) or cell.test_missingness != AS_IN_TRAINING:
        return False
    if pattern.startswith("trained"):
        return pattern == f"trained with {missingness_in_words(cell.missingness)}"
    return not _pattern(cell)


def draw_panels(panels: Sequence[Panel], metric: str) -> Figure:
    """Draw panels one below the other; bars are standard deviations over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2 * len(panels)), layout="constrained")
    for ax, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        for i, (method, points) in enumerate(panel.lines.items()):
            fractions, means, deviations = zip(*points, strict=True)
            ax.errorbar(
                [100 * fraction for fraction in fractions],
                means,
                [0.0 if math.isnan(sd) else sd for sd in deviations],
                label=method_label(method),
                lw=2.2 if method == "condi" else 1.2,
                capsize=2,
                marker=MARKERS[i % len(MARKERS)],
                ms=4,
                color=f"C{i % NUM_COLOURS}",
                ls="-" if i < NUM_COLOURS else "--",
            )
        ax.set_title(panel.title, fontsize=10)
        ax.set_xlabel("missing in test windows, % of what was measured")
        ax.set_ylabel(TASK_METRICS[metric].label)
        remove_frame(ax)
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
