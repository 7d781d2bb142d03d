"""Curves of a metric over the fraction that is missing in test windows, with a line per method."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from condi_core.evaluation.catalogue import TASK_METRICS
from data_partitions.missingness import AMOUNTS
from server_app.study.results import AS_IN_TRAINING, StudyCell
from server_app.study.statistics import mean_sd
from server_app.study.tables import naive_first

MARKERS = "osD^vPX*<>"
NUM_COLOURS = 10


@dataclass(frozen=True)
class Panel:
    """One plot; the line of a method has (missing fraction, mean, standard deviation), by fraction."""

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
            by_fraction: dict[float, list[float]] = {}
            for cell in members:
                score = cell.metrics.get(metric)
                if cell.method == method and score is not None:
                    by_fraction.setdefault(round(cell.missing_fraction_in_test, 6), []).append(score)
            lines[method] = [(fraction, *mean_sd(scores)) for fraction, scores in sorted(by_fraction.items())]
        if any(len(line) > 1 for line in lines.values()):
            panels.append(Panel(f"{data}, {partition}: {pattern}", lines))
    return panels


def _pattern(cell: StudyCell) -> str:
    """Return the pattern that a cell's panel shows; empty without missingness."""
    if cell.test_missingness != AS_IN_TRAINING:
        return f"trained with {cell.missingness}"
    parts = [part for part in cell.missingness.split() if part != "none"]
    return ", ".join(part.partition("=")[0] if part.partition("=")[0] in AMOUNTS else part for part in parts)


def _is_endpoint(cell: StudyCell, data: str, partition: str, pattern: str) -> bool:
    """Return whether a cell of another pattern is a point of a panel.

    It is one without any missingness, or with the same missingness as the panel's training.
    """
    if (cell.data, cell.partition) != (data, partition) or cell.test_missingness != AS_IN_TRAINING:
        return False
    if pattern.startswith("trained"):
        return pattern == f"trained with {cell.missingness}"
    return not _pattern(cell)


def draw_panels(panels: Sequence[Panel], metric: str, file_format: str = "svg") -> bytes | None:
    """Draw panels one below the other; None when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(7, 3.6 * len(panels)), layout="constrained")
    for ax, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        for i, (method, points) in enumerate(panel.lines.items()):
            fractions, means, deviations = zip(*points, strict=True)
            ax.errorbar(
                [100 * fraction for fraction in fractions],
                means,
                [0.0 if math.isnan(sd) else sd for sd in deviations],
                label=method,
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
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    out = io.BytesIO()
    figure.savefig(out, format=file_format, dpi=130)
    return out.getvalue()
