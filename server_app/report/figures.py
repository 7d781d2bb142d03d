"""Figures as inline SVG. Colours are those of the page's style sheet, so that they suit light and dark.

All are drawn 360 units wide, which is about what a telephone has, and grow with the page.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_partitions.table import escape_html, format_number

WIDTH = 360
COLOURS = 8  # after that they begin anew, dashed


@dataclass(frozen=True)
class Series:
    """A line; a point that is not finite breaks it."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = True


@dataclass(frozen=True)
class LinearScale:
    """Numbers along an axis and where they are on the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int = 4, whole: bool = False) -> list[float]:
        """Round numbers inside the range, 1, 2 or 5 times a power of ten apart."""
        raw = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    whole: bool = False,
) -> str:
    """Lines over a common axis; `diagonal` for where both axes are equal, `whole` where x counts."""
    known = [p for s in series for p in s.points if all(map(math.isfinite, p))]
    if not known:
        return ""
    height = 300 if diagonal else 220
    x = _fit([p[0] for p in known], x_range, 54, WIDTH - 12, pad=0)
    y = _fit([p[1] for p in known], y_range, height - 38, 10, pad=0.06)
    out = _axes(x, y, x_label, y_label, height, whole)
    if diagonal:
        out.append(f'<path class="even" d="M{x(0):.1f},{y(0):.1f}L{x(1):.1f},{y(1):.1f}"/>')
    for i, one in enumerate(series):
        place = [(x(a), y(b)) if math.isfinite(a + b) else None for a, b in one.points]
        out.append(f'<path class="line {_colour(i)}" d="{_path(place)}"/>')
        if one.dots:
            out += [
                f'<circle class="{_colour(i)}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="3"/>' for p in place if p
            ]
    return _figure(title, out, height, [s.name for s in series] if len(series) > 1 else [])


def bars(title: str, groups: Sequence[str], series: dict[str, Sequence[float]], y_label: str) -> str:
    """Groups of upright bars, one bar of each series in a group; neighbours of one name share their label."""
    known = [v for values in series.values() for v in values if math.isfinite(v)]
    if not known:
        return ""
    height = 220
    x = LinearScale(0, len(groups), 54, WIDTH - 8)
    y = _fit([0.0, *known], None, height - 38, 10, pad=0.06)
    out = _axes(x, y, "", y_label, height, ticks_x=False)
    each = 0.82 / len(series)
    for g, group in enumerate(groups):
        for s, (name, values) in enumerate(series.items()):
            if math.isfinite(values[g]):
                left, right = x(g + 0.09 + s * each), x(g + 0.09 + (s + 0.92) * each)
                top, bottom = sorted((y(values[g]), y(0)))
                tooltip = escape_html(f"{group}, {name}: {format_number(values[g])}")
                out.append(
                    f'<rect class="bar {_colour(s)}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                    f'height="{max(bottom - top, 0.5):.1f}"><title>{tooltip}</title></rect>'
                )
    start = 0
    for group, members in itertools.groupby(groups):
        end = start + len(list(members))
        wide = x(end) - x(start)
        out.append(_text(x((start + end) / 2), height - 22, _short(group, int(wide / 6)), "middle", group))
        if start:
            out.append(f'<path class="grid" d="M{x(start):.1f},{y.end}V{height - 16}"/>')
        start = end
    out.append(f'<path class="axis" d="M{x.start},{y(0):.1f}H{x.end}"/>')
    return _figure(title, out, height, list(series) if len(series) > 1 else [])


def horizontal_bars(title: str, values: dict[str, float], unit: str) -> str:
    """One lying bar per name, to the left of the axis where the value is negative."""
    known = {name: v for name, v in values.items() if math.isfinite(v)}
    if not known:
        return ""
    height = 24 * len(known) + 34
    x = _fit([0.0, *known.values()], None, 130, WIDTH - 60, pad=0)
    out = []
    for i, (name, value) in enumerate(known.items()):
        left, right = sorted((x(0), x(value)))
        top = 8 + 24 * i
        out.append(
            f'<rect class="bar {"c0" if value >= 0 else "c1"}" x="{left:.1f}" y="{top}" '
            f'width="{max(right - left, 0.5):.1f}" height="16"/>'
        )
        out.append(_text(4, top + 12, _short(name, 19), "start", name))
        out.append(_text(right + 4, top + 12, f"{value:+.3f}", "start"))
    out.append(f'<path class="axis" d="M{x(0):.1f},4V{height - 28}"/>')
    out.append(_text((x.start + x.end) / 2, height - 8, unit, "middle"))
    return _figure(title, out, height, [])


def heatmap(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    *,
    row_label: str = "",
    column_label: str = "",
) -> str:
    """A matrix: each cell says its value and is as dark as its share, from 0 to 1."""
    left, top = min(92, 24 + 6 * max(map(len, rows))), 46
    wide = (WIDTH - left - 6) / len(columns)
    high = min(36.0, max(22.0, wide))
    height = round(top + high * len(rows) + 10)
    out = [_text(left + wide * len(columns) / 2, 14, column_label, "middle")]
    out.append(_text(left - 8, 34, row_label, "end"))
    for j, name in enumerate(columns):
        out.append(_text(left + wide * (j + 0.5), 34, _short(name, int(wide / 6.2)), "middle", name))
    for i, name in enumerate(rows):
        middle = top + high * (i + 0.5) + 4
        out.append(_text(left - 8, middle, _short(name, 13), "end", name))
        for j, (value, share) in enumerate(zip(values[i], shares[i], strict=True)):
            alpha = 0.6 * share if math.isfinite(share) else 0
            out.append(
                f'<rect class="cell" x="{left + wide * j + 1:.1f}" y="{top + high * i + 1:.1f}" '
                f'width="{wide - 2:.1f}" height="{high - 2:.1f}" style="fill-opacity:{alpha:.3f}"/>'
            )
            out.append(_text(left + wide * (j + 0.5), middle, format_number(value), "middle", cls="on"))
    return _figure(title, out, height, [])


@dataclass(frozen=True)
class Trace:
    """One modality over a stretch of a window: `time` in s, everything else in its unit, NaN for nothing."""

    name: str
    unit: str
    time: Sequence[float]
    seen: Sequence[float]
    hidden: Sequence[float]  # truth that the model did not see
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


TRACES = ("what the model saw", "truth, hidden from it", "median of draws", "90 % band")


def traces(title: str, panels: Sequence[Trace], x_label: str) -> str:
    """Stretches of modalities one below the other: truth, what was seen, median and band."""
    each, left = 74, 58
    height = each * len(panels) + 34
    x = _fit([t for p in panels for t in p.time], None, left, WIDTH - 8, pad=0)
    out = []
    for i, p in enumerate(panels):
        values = [v for part in (p.seen, p.hidden, p.middle, p.low, p.high) for v in part if math.isfinite(v)]
        y = _fit(values or [0.0, 1.0], None, each * (i + 1) - 6, each * i + 6, pad=0.04)
        place = [x(t) for t in p.time]
        radius = 0.9 if len(place) > 100 else 2.0  # of a sample without neighbours
        out.append(f'<path class="band" d="{_band(place, [y(v) for v in p.low], [y(v) for v in p.high])}"/>')
        for cls, part in (("truth", p.hidden), ("median", p.middle), ("seen", p.seen)):
            points = [(a, y(v)) if math.isfinite(v) else None for a, v in zip(place, part, strict=True)]
            out.append(f'<path class="{cls}" d="{_path(points)}"/>')
            alone = [b for a, b, c in zip([None, *points], points, [*points[1:], None]) if b and not (a or c)]  # noqa: B905
            out += [f'<circle class="{cls}" cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>' for a, b in alone]
        out.append(_text(4, each * i + 30, _short(p.name, 9), "start", p.name, cls="on"))
        out.append(_text(4, each * i + 44, _short(p.unit, 9), "start", p.unit))
        out.append(f'<path class="axis" d="M{left},{each * (i + 1)}H{WIDTH - 8}"/>')
    out += [_text(x(t), height - 20, format_number(t), "middle") for t in x.ticks(5)]
    out.append(_text((left + WIDTH) / 2, height - 6, x_label, "middle"))
    return _figure(title, out, height, [])


def legend_of_traces() -> str:
    return _legend(dict(zip(("seen", "truth", "median", "band"), TRACES, strict=True)))


def _fit(
    values: Iterable[float], fixed: tuple[float, float] | None, start: float, end: float, pad: float
) -> LinearScale:
    found = [float(v) for v in values]
    low, high = fixed or (min(found), max(found))
    if high - low < 1e-9 * max(abs(high), abs(low), 1e-9):
        low, high = low - 0.5, high + 0.5
    room = 0 if fixed else pad * (high - low)
    return LinearScale(low if low == 0 else low - room, high if high == 0 else high + room, start, end)


def _axes(
    x: LinearScale,
    y: LinearScale,
    x_label: str,
    y_label: str,
    height: int,
    whole: bool = False,
    ticks_x: bool = True,
) -> list[str]:
    out = []
    for tick in y.ticks():
        out.append(f'<path class="grid" d="M{x.start},{y(tick):.1f}H{x.end}"/>')
        out.append(_text(x.start - 5, y(tick) + 4, format_number(round(tick, 10)), "end"))
    if ticks_x:
        out += [
            _text(x(tick), height - 22, format_number(round(tick, 10)), "middle")
            for tick in x.ticks(6, whole)
        ]
    out.append(f'<path class="axis" d="M{x.start},{y.end}V{y.start}H{x.end}"/>')
    out.append(_text((x.start + x.end) / 2, height - 6, x_label, "middle"))
    middle = (y.start + y.end) / 2
    turned = f'text-anchor="middle" transform="rotate(-90 10 {middle})"'
    out.append(f'<text x="10" y="{middle}" {turned}>{escape_html(y_label)}</text>')
    return out


def _figure(title: str, parts: Iterable[str], height: float, names: Sequence[str]) -> str:
    legend = _legend({_colour(i): name for i, name in enumerate(names)})
    caption = escape_html(title)
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{caption}">{"".join(parts)}</svg>'
        f"{legend}</figure>"
    )


def _legend(keys: dict[str, str]) -> str:
    """Names by the class that has their colour."""
    parts = (f'<span><i class="key {cls}"></i>{escape_html(name)}</span> ' for cls, name in keys.items())
    return f'<p class="legend">{"".join(parts)}</p>' if keys else ""


def _colour(i: int) -> str:
    return f"c{i % COLOURS}" + (" again" if i >= COLOURS else "")


def _text(x: float, y: float, text: str, anchor: str, full: str = "", cls: str = "") -> str:
    if not text:
        return ""
    kind = f' class="{cls}"' if cls else ""
    told = f"<title>{escape_html(full)}</title>" if full and full != text else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{told}{escape_html(text)}</text>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 1, 1)] + "…"


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    out, down = [], False
    for point in points:
        if point:
            out.append(f"{'L' if down else 'M'}{point[0]:.1f},{point[1]:.1f}")
        down = point is not None
    return "".join(out)


def _band(x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    """The area between two lines, in stretches where both are known."""
    out, run = [], []
    for point in [*zip(x, low, high, strict=True), (0.0, math.nan, math.nan)]:
        if math.isfinite(point[1]) and math.isfinite(point[2]):
            run.append(point)
        elif run:
            if len(run) == 1:  # a sample alone still has a width
                a, b, c = run[0]
                run = [(a - 0.7, b, c), (a + 0.7, b, c)]
            there = [f"{a:.1f},{b:.1f}" for a, b, _ in run]
            back = [f"{a:.1f},{c:.1f}" for a, _, c in reversed(run)]
            out.append("M" + "L".join(there + back) + "Z")
            run = []
    return "".join(out)
