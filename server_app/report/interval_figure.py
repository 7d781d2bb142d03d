"""A figure of numbers with intervals, one row for each name."""

from __future__ import annotations

import math
from collections.abc import Mapping

from data_partitions.table import escape_html
from server_app.artifacts.estimates import Estimate
from server_app.report.svg import WIDTH, draw_text, fit_scale, make_figure, shorten

ROW_HEIGHT = 22
LABEL_WIDTH = 118


def interval_rows(title: str, estimates: Mapping[str, Estimate], unit: str) -> str:
    """Draw a dot for each number and a line for its interval, beside a line at zero.

    Parameters
    ----------
    title : str
    estimates : mapping of str to Estimate
        By name; a number that is not finite is not drawn.
    unit : str
        Label of the x axis.

    Returns
    -------
    str
        A figure in HTML, or "" when no number is finite.
    """
    finite = {name: e for name, e in estimates.items() if math.isfinite(e.value)}
    if not finite:
        return ""
    ends = [number for e in finite.values() for number in (e.value, *(e.interval or ()))]
    height = ROW_HEIGHT * len(finite) + 44
    bottom = height - 36
    x = fit_scale([0.0, *ends], None, LABEL_WIDTH, WIDTH - 14)
    out = [f'<path class="grid" d="M{x(tick):.1f},4V{bottom}"/>' for tick in x.ticks()]
    out += [draw_text(x(tick), bottom + 14, x.tick_label(tick), "middle") for tick in x.ticks()]
    out.append(f'<path class="axis" d="M{x(0):.1f},4V{bottom}"/>')
    for i, (name, estimate) in enumerate(finite.items()):
        y = 4 + ROW_HEIGHT * (i + 0.5)
        series = "c0" if estimate.value >= 0 else "c1"
        text = f"{name}: {estimate.value:+.3f}"
        if interval := estimate.interval:
            text += f" ({interval[0]:+.3f} to {interval[1]:+.3f})"
            out.append(f'<path class="line {series}" d="M{x(interval[0]):.1f},{y}H{x(interval[1]):.1f}"/>')
        out.append(
            f'<circle class="{series}" cx="{x(estimate.value):.1f}" cy="{y}" r="4">'
            f"<title>{escape_html(text)}</title></circle>"
        )
        out.append(draw_text(4, y + 4, shorten(name, 17), "start", name))
    out.append(draw_text((x.start + x.end) / 2, height - 6, unit, "middle"))
    return make_figure(title, out, height, [])
