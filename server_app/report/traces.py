"""Figures of completed windows: what was measured, what was hidden, and the draws of the imputer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from server_app.report.svg import WIDTH, draw_text, fit_scale, make_figure, make_legend, path_data, shorten


@dataclass(frozen=True)
class Trace:
    """A modality over a part of a window. Values are in its unit, and NaN where there is none."""

    name: str
    unit: str
    time: Sequence[float]  # in the unit of the figure's x axis
    conditioning: Sequence[float]  # samples that the model was given
    target: Sequence[float]  # measured samples that were hidden from the model
    median: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


TRACE_LABELS = {
    "seen": "given to the model",
    "truth": "measured, hidden from the model",
    "median": "median of draws",
    "band": "90 % interval",
}  # by CSS class


def traces(title: str, panels: Sequence[Trace], x_label: str) -> str:
    """Draw modalities one below the other: measured and hidden samples, median and interval of the draws.

    Parameters
    ----------
    title : str
    panels : sequence of Trace
        One for each modality, over the same time.
    x_label : str
        The unit of time.

    Returns
    -------
    str
        A figure in HTML; `trace_legend` explains its lines.
    """
    panel_height, left = 74, 58
    height = panel_height * len(panels) + 34
    x = fit_scale([t for p in panels for t in p.time], None, left, WIDTH - 8, 5)
    out = []
    for i, p in enumerate(panels):
        top, bottom = panel_height * i, panel_height * (i + 1)
        lines = (p.conditioning, p.target, p.median, p.low, p.high)
        values = [v for line in lines for v in line if math.isfinite(v)]
        y = fit_scale(values or [0.0, 1.0], None, bottom - 6, top + 6, 2)
        positions = [x(t) for t in p.time]
        radius = 0.9 if len(positions) > 100 else 2.0  # of a sample without neighbours
        interval = _interval(positions, [y(v) for v in p.low], [y(v) for v in p.high])
        out.append(f'<path class="band" d="{interval}"/>')
        for css_class, line in (("truth", p.target), ("median", p.median), ("seen", p.conditioning)):
            points = [(a, y(v)) if math.isfinite(v) else None for a, v in zip(positions, line, strict=True)]
            out.append(f'<path class="{css_class}" d="{path_data(points)}"/>')
            neighbours = zip([None, *points], points, [*points[1:], None], strict=False)
            isolated = [b for a, b, c in neighbours if b and not (a or c)]
            out += [
                f'<circle class="{css_class}" cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>' for a, b in isolated
            ]
        out.append(draw_text(4, top + 30, shorten(p.name, 9), "start", p.name, css_class="on"))
        out.append(draw_text(4, top + 44, shorten(p.unit, 9), "start", p.unit))
        out.append(f'<path class="axis" d="M{left},{bottom}H{WIDTH - 8}"/>')
    out += [draw_text(x(t), height - 20, x.tick_label(t), "middle") for t in x.ticks()]
    out.append(draw_text((left + WIDTH) / 2, height - 6, x_label, "middle"))
    return make_figure(title, out, height, [])


def trace_legend() -> str:
    """Explain the lines of `traces`, once for all such figures of a section."""
    return make_legend(TRACE_LABELS)


def _interval(x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    """Write the data of a path around the areas between two lines, where both are finite."""
    out: list[str] = []
    area: list[tuple[float, float, float]] = []
    for point in [*zip(x, low, high, strict=True), (0.0, math.nan, math.nan)]:
        if math.isfinite(point[1]) and math.isfinite(point[2]):
            area.append(point)
        elif area:
            if len(area) == 1:  # an isolated sample needs a width to be visible
                a, b, c = area[0]
                area = [(a - 0.7, b, c), (a + 0.7, b, c)]
            forth = [f"{a:.1f},{b:.1f}" for a, b, _ in area]
            back = [f"{a:.1f},{c:.1f}" for a, _, c in reversed(area)]
            out.append("M" + "L".join(forth + back) + "Z")
            area = []
    return "".join(out)
