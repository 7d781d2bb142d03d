"""Primitives of the figures: scales, axes, text, paths and legends of inline SVG.

Colours come from the style sheet of the page, which has a light and a dark scheme. All figures are drawn 360
units wide, about the width of a telephone, and grow with the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_partitions.table import escape_html, format_number

WIDTH = 360
CHARACTER_WIDTH = 6.5  # of a digit of a tick
MAX_TICK_CHARACTERS = 16
LARGEST = 1e300  # of a number in a figure, as differences of larger ones overflow
COLOURS = 8  # series after these repeat the colours, with dashed lines


@dataclass(frozen=True)
class LinearScale:
    """A linear map from the numbers of an axis to positions in the figure, and the numbers that it shows."""

    low: float
    high: float
    start: float
    end: float
    step: float = 0.0  # between ticks; 0: none

    def __call__(self, value: float) -> float:
        return self.start + (_bound(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return the multiples of the step inside the range."""
        first, last = math.ceil(self.low / self.step - 1e-6), math.floor(self.high / self.step + 1e-6)
        return [k * self.step for k in range(first, last + 1)]

    def tick_label(self, tick: float) -> str:
        """Write a tick with as many decimals as the step, so that those of an axis are aligned."""
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        label = f"{tick:.{decimals}f}" if decimals < 6 else format_number(tick)
        label = label if len(label) <= MAX_TICK_CHARACTERS else f"{tick:.8g}"
        return label.replace("-", "−")


def fit_scale(
    values: Sequence[float],
    fixed: tuple[float, float] | None,
    start: float,
    end: float,
    about: int = 4,
    integers: bool = False,
) -> LinearScale:
    """Map the range of values, or a fixed one, to positions.

    The range of values is extended to the ticks around it, `about` as many as are asked for. Their step is 1,
    2 or 5 times a power of ten. Numbers beyond `LARGEST` are at the end of the axis.
    """
    low, high = map(_bound, fixed or (float(min(values)), float(max(values))))
    largest = max(abs(high), abs(low))
    if high - low < 1e-9 * max(largest, 1e-9):
        margin = max(0.5, 1e-6 * largest)
        low, high = low - margin, high + margin
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    step = max(step, 1.0) if integers else step
    if not fixed:
        low, high = step * math.floor(low / step + 1e-6), step * math.ceil(high / step - 1e-6)
    return LinearScale(low, high, start, end, step)


def _bound(value: float) -> float:
    """Bring a number into the range that can be drawn; NaN stays."""
    return min(max(float(value), -LARGEST), LARGEST)


def find_left_end(y: LinearScale) -> float:
    """Return where an x axis starts, beside the label and the ticks of a y axis."""
    return max(54.0, 26 + CHARACTER_WIDTH * max(len(y.tick_label(tick)) for tick in y.ticks()))


def draw_axes(
    x: LinearScale,
    y: LinearScale,
    x_label: str,
    y_label: str,
    height: int,
    ticks_x: bool = True,
) -> list[str]:
    """Draw both axes with their labels, and the grid of the y axis."""
    out = []
    for tick in y.ticks():
        out.append(f'<path class="grid" d="M{x.start},{y(tick):.1f}H{x.end}"/>')
        out.append(draw_text(x.start - 5, y(tick) + 4, y.tick_label(tick), "end"))
    if ticks_x:
        out += [draw_text(x(tick), height - 22, x.tick_label(tick), "middle") for tick in x.ticks()]
    out.append(f'<path class="axis" d="M{x.start},{y.end}V{y.start}H{x.end}"/>')
    out.append(draw_text((x.start + x.end) / 2, height - 6, x_label, "middle"))
    middle = (y.start + y.end) / 2
    rotation = f'text-anchor="middle" transform="rotate(-90 10 {middle})"'
    out.append(f'<text x="10" y="{middle}" {rotation}>{escape_html(y_label)}</text>')
    return out


def make_figure(title: str, parts: Iterable[str], height: float, names: Sequence[str]) -> str:
    """Put parts into a figure with a caption, and a legend of the names of its series."""
    legend = make_legend({series_class(i): name for i, name in enumerate(names)})
    caption = escape_html(title)
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{caption}">{"".join(parts)}</svg>'
        f"{legend}</figure>"
    )


def make_legend(names: Mapping[str, str]) -> str:
    """Make a legend of names by the CSS class that has their colour."""
    parts = (f'<span><i class="key {css}"></i>{escape_html(name)}</span> ' for css, name in names.items())
    return f'<p class="legend">{"".join(parts)}</p>' if names else ""


def series_class(i: int) -> str:
    """Name the CSS class of the i-th series."""
    return f"c{i % COLOURS}" + (" again" if i >= COLOURS else "")


def draw_text(x: float, y: float, text: str, anchor: str, full: str = "", css_class: str = "") -> str:
    """Write text at a position; `full` is its tooltip where the text was shortened."""
    if not text:
        return ""
    attribute = f' class="{css_class}"' if css_class else ""
    tooltip = f"<title>{escape_html(full)}</title>" if full and full != text else ""
    return (
        f'<text{attribute} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{tooltip}{escape_html(text)}</text>'
    )


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 1, 1)] + "…"


def path_data(points: Sequence[tuple[float, float] | None]) -> str:
    """Write the data of a path that is interrupted where there is no point."""
    out, connected = [], False
    for point in points:
        if point:
            out.append(f"{'L' if connected else 'M'}{point[0]:.1f},{point[1]:.1f}")
        connected = point is not None
    return "".join(out)
