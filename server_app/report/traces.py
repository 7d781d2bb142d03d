"""Figures of completed windows: what was measured, what was hidden, and the draws of the imputer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from data_partitions.window_traces import TimeUnit, Trace, isolated_samples
from server_app.report.svg import (
    WIDTH,
    LinearScale,
    draw_text,
    fit_scale,
    make_figure,
    make_legend,
    path_data,
    shorten,
)

TRACE_LABELS = {
    "seen": "given to the model",
    "truth": "measured, hidden from the model",
    "median": "median of draws",
    "band": "90 % interval",
}  # by CSS class
LEFT, PANEL_HEIGHT, HEAD_HEIGHT = 46, 88, 18
SMALLEST_WIDTH, LARGEST_WIDTH = 1.4, 6.0  # of the interval of one sample


def traces(title: str, panels: Sequence[Trace], start: float, end: float, unit: TimeUnit) -> str:
    """Draw modalities one below the other: measured and hidden samples, median and interval of the draws.

    Parameters
    ----------
    title : str
    panels : sequence of Trace
        One for each modality, over the same time.
    start, end : float
        The part of the window that is drawn, in the unit of time.
    unit : TimeUnit

    Returns
    -------
    str
        A figure in HTML; `trace_legend` explains its lines.
    """
    height = PANEL_HEIGHT * len(panels) + 36
    x = fit_scale([], (start, end), LEFT, WIDTH - 10, 6)
    out = []
    for i, panel in enumerate(panels):
        out += _panel(panel, x, PANEL_HEIGHT * i)
    out += [draw_text(x(tick), height - 22, x.tick_label(tick), "middle") for tick in x.ticks()]
    out.append(draw_text((LEFT + WIDTH - 10) / 2, height - 6, unit.axis_label, "middle"))
    return make_figure(title, out, height, [])


def trace_legend() -> str:
    """Explain the lines of `traces`, once for all such figures of a section."""
    return make_legend(TRACE_LABELS)


def _panel(panel: Trace, x: LinearScale, top: float) -> list[str]:
    lines = (panel.conditioning, panel.target, panel.median, panel.low, panel.high)
    finite = np.concatenate(lines)[np.isfinite(np.concatenate(lines))]
    y = fit_scale(finite if len(finite) else [0.0, 1.0], None, top + PANEL_HEIGHT - 4, top + HEAD_HEIGHT, 2)
    out = [draw_text(LEFT, top + 12, shorten(panel.label, 48), "start", panel.label, css_class="on")]
    for tick in y.ticks():
        out.append(f'<path class="grid" d="M{x.start},{y(tick):.1f}H{x.end}"/>')
        out.append(draw_text(x.start - 5, y(tick) + 4, y.tick_label(tick), "end"))
    positions = [x(t) for t in panel.time]
    spacing = (x.end - x.start) / max(len(positions), 1)
    width = min(max(spacing, SMALLEST_WIDTH), LARGEST_WIDTH)
    area = _interval(positions, [y(v) for v in panel.low], [y(v) for v in panel.high], width)
    out.append(f'<path class="band" d="{area}"/>')
    radius = min(max(spacing / 3, 0.9), 2.2)
    for css_class, line in (("truth", panel.target), ("median", panel.median), ("seen", panel.conditioning)):
        points = [(a, y(v)) if math.isfinite(v) else None for a, v in zip(positions, line, strict=True)]
        out.append(f'<path class="{css_class}" d="{path_data(points)}"/>')
        out += [
            f'<circle class="{css_class}" cx="{positions[k]:.1f}" cy="{y(line[k]):.1f}" r="{radius:.1f}"/>'
            for k in np.flatnonzero(isolated_samples(line))
        ]
    out.append(f'<path class="axis" d="M{x.start},{y.end}V{y.start}H{x.end}"/>')
    return out


def _interval(x: Sequence[float], low: Sequence[float], high: Sequence[float], width: float) -> str:
    """Write the data of a path around the areas between two lines, where both are finite.

    An isolated sample needs a `width` to be visible.
    """
    out: list[str] = []
    area: list[tuple[float, float, float]] = []
    for point in [*zip(x, low, high, strict=True), (0.0, math.nan, math.nan)]:
        if math.isfinite(point[1]) and math.isfinite(point[2]):
            area.append(point)
        elif area:
            if len(area) == 1:
                a, b, c = area[0]
                area = [(max(a - width / 2, LEFT), b, c), (a + width / 2, b, c)]
            forth = [f"{a:.1f},{b:.1f}" for a, b, _ in area]
            back = [f"{a:.1f},{c:.1f}" for a, _, c in reversed(area)]
            out.append("M" + "L".join(forth + back) + "Z")
            area = []
    return "".join(out)
