"""Figures of the report: lines, bars and matrices, as inline SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_partitions.table import escape_html, format_number
from server_app.report.svg import (
    WIDTH,
    LinearScale,
    draw_axes,
    draw_text,
    find_left_end,
    fit_scale,
    make_figure,
    path_data,
    series_class,
    shorten,
)

MIN_LABEL_WIDTH = 18  # of a group of bars; narrower ones have a tooltip alone


@dataclass(frozen=True)
class Series:
    """A line of a figure. A point that is not finite breaks it.

    `intervals` and `notes` have an interval of y and a tooltip for each point, or are empty.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = True
    intervals: Sequence[tuple[float, float]] = ()
    notes: Sequence[str] = ()


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    integers: bool = False,
    levels: Sequence[float] = (),
) -> str:
    """Draw lines over a common axis.

    Parameters
    ----------
    title : str
    series : sequence of Series
    x_label, y_label : str
    x_range, y_range : (low, high), optional
        Ends of the axes; by default those of the data.
    diagonal : bool
        Whether to draw the line on which both axes are equal.
    integers : bool
        Whether x is a count, so that ticks between whole numbers have no meaning.
    levels : sequence of float
        A y for each series, at which a dashed line in its colour crosses the figure.

    Returns
    -------
    str
        A figure in HTML, or "" when no point is finite. Intervals are drawn if there is one series: those of
        several hide each other.
    """
    points = [p for s in series for p in s.points if all(map(math.isfinite, p))]
    if not points:
        return ""
    height = 300 if x_range and y_range else 220
    y = fit_scale([p[1] for p in points], y_range, height - 38, 10, 6 if y_range else 4)
    x = fit_scale([p[0] for p in points], x_range, find_left_end(y), WIDTH - 12, 6, integers)
    out = draw_axes(x, y, x_label, y_label, height)
    if diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        out.append(f'<path class="even" d="M{x(low):.1f},{y(low):.1f}L{x(high):.1f},{y(high):.1f}"/>')
    for i, level in enumerate(levels):
        out.append(f'<path class="level {series_class(i)}" d="M{x.start},{y(level):.1f}H{x.end}"/>')
    for i, line in enumerate(series):
        positions = [(x(a), y(b)) if math.isfinite(a + b) else None for a, b in line.points]
        out.append(f'<path class="line {series_class(i)}" d="{path_data(positions)}"/>')
        if len(series) == 1:
            for (a, _), (low, high) in zip(line.points, line.intervals, strict=False):
                out.append(
                    f'<path class="line {series_class(i)}" d="M{x(a):.1f},{y(low):.1f}V{y(high):.1f}"/>'
                )
        if line.dots:
            notes = line.notes or [""] * len(positions)
            out += [_dot(p, series_class(i), note) for p, note in zip(positions, notes, strict=True) if p]
    return make_figure(title, out, height, [s.name for s in series] if len(series) > 1 else [])


def _dot(position: tuple[float, float], css_class: str, note: str) -> str:
    circle = f'circle class="{css_class}" cx="{position[0]:.1f}" cy="{position[1]:.1f}" r="3"'
    return f"<{circle}><title>{escape_html(note)}</title></circle>" if note else f"<{circle}/>"


def bars(title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], y_label: str) -> str:
    """Draw groups of upright bars.

    Parameters
    ----------
    title : str
    groups : sequence of str
        Names along the x axis. Neighbours of the same name share their label.
    series : mapping of str to sequence of float
        The values of each series, one for each group. A value that is not finite has no bar.
    y_label : str

    Returns
    -------
    str
        A figure in HTML, or "" when no value is finite.
    """
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    if not finite:
        return ""
    height = 230
    y = fit_scale([0.0, *finite], None, height - 38, 10)
    x = LinearScale(0, len(groups), find_left_end(y), WIDTH - 8)
    out = draw_axes(x, y, "", y_label, height, ticks_x=False)
    bar_width = 0.82 / len(series)
    for g, group in enumerate(groups):
        for s, (name, values) in enumerate(series.items()):
            if math.isfinite(values[g]):
                left, right = x(g + 0.09 + s * bar_width), x(g + 0.09 + (s + 0.92) * bar_width)
                top, bottom = sorted((y(values[g]), y(0)))
                tooltip = escape_html(f"{group}, {name}: {format_number(values[g])}")
                out.append(
                    f'<rect class="bar {series_class(s)}" x="{left:.1f}" y="{top:.1f}" '
                    f'width="{right - left:.1f}" height="{max(bottom - top, 0.5):.1f}">'
                    f"<title>{tooltip}</title></rect>"
                )
    start = 0
    for group, members in itertools.groupby(groups):
        end = start + len(list(members))
        width = x(end) - x(start)
        if width > MIN_LABEL_WIDTH:
            for line, text in enumerate(_break_label(group, int(width / 6))):
                position = x((start + end) / 2), height - 22 + 12 * line
                out.append(draw_text(*position, text, "middle", group))
        if start:
            out.append(f'<path class="grid" d="M{x(start):.1f},{y.end}V{height - 16}"/>')
        start = end
    out.append(f'<path class="axis" d="M{x.start},{y(0):.1f}H{x.end}"/>')
    return make_figure(title, out, height, list(series) if len(series) > 1 else [])


def _break_label(label: str, length: int) -> list[str]:
    """Break a label that is too long into two lines between its words, and shorten those that still are."""
    if len(label) <= length:
        return [label]
    breaks = [i + 1 for i, c in enumerate(label) if c in " -_"]
    cut = max((i for i in breaks if i <= length + 1), default=min(breaks, default=len(label)))
    return [shorten(part.strip(), length) for part in (label[:cut], label[cut:]) if part.strip()]


def heatmap(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    shares: np.ndarray,
    *,
    row_label: str = "",
    column_label: str = "",
) -> str:
    """Draw a matrix whose cells are shaded.

    Parameters
    ----------
    title : str
    rows, columns : sequence of str
        Names of the rows and columns.
    values : array (row, column)
        The number written in each cell.
    shares : array (row, column)
        How dark each cell is, from 0 to 1.
    row_label, column_label : str
        What the names of the rows and columns are.

    Returns
    -------
    str
        A figure in HTML.
    """
    left, top = min(92, 24 + 6 * max(map(len, rows))), 46
    width = (WIDTH - left - 6) / len(columns)
    cell_height = min(36.0, max(22.0, width))
    height = round(top + cell_height * len(rows) + 10)
    out = [draw_text(left + width * len(columns) / 2, 14, column_label, "middle")]
    out.append(draw_text(left - 8, 34, row_label, "end"))
    for j, name in enumerate(columns):
        out.append(draw_text(left + width * (j + 0.5), 34, shorten(name, int(width / 6.2)), "middle", name))
    for i, name in enumerate(rows):
        baseline = top + cell_height * (i + 0.5) + 4
        out.append(draw_text(left - 8, baseline, shorten(name, 13), "end", name))
        for j, (value, share) in enumerate(zip(values[i], shares[i], strict=True)):
            alpha = 0.6 * share if math.isfinite(share) else 0
            out.append(
                f'<rect class="cell" x="{left + width * j + 1:.1f}" y="{top + cell_height * i + 1:.1f}" '
                f'width="{width - 2:.1f}" height="{cell_height - 2:.1f}" style="fill-opacity:{alpha:.3f}"/>'
            )
            number = format_number(float(value))
            out.append(draw_text(left + width * (j + 0.5), baseline, number, "middle", css_class="on"))
    return make_figure(title, out, height, [])
