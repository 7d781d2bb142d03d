"""Figures: positions and lengths are those of the values, and only finite values are drawn."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condi_core.evaluation.classification import auroc, roc
from data_partitions.window_traces import TimeUnit, Trace
from server_app.report.figures import (
    Series,
    bars,
    heatmap,
    lines,
)
from server_app.report.label_curves import corners
from server_app.report.markup import size
from server_app.report.svg import COLOURS, fit_scale
from server_app.report.traces import LARGEST_WIDTH, traces


def points_of(svg, cls):
    """Return the points of the paths of a class, as one list for each uninterrupted part."""
    drawn = re.findall(rf'<path class="{cls}" d="([^"]*)"', svg)
    return [
        [tuple(map(float, p.split(","))) for p in stretch.split("L")]
        for path in drawn
        for stretch in path.strip("MZ").split("M")
        if stretch
    ]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_enclose_the_values_and_are_evenly_spaced(low, width, about):
    scale = fit_scale([low, low + width], None, 0, 100, about)
    ticks = scale.ticks()
    tolerance = 1e-6 * (width + abs(low))
    assert ticks[0] <= low + tolerance and low + width - tolerance <= ticks[-1]
    assert (scale(ticks[0]), scale(ticks[-1])) == pytest.approx((0, 100), abs=1e-3)
    assert 2 <= len(ticks) <= about + 2
    assert np.allclose(np.diff(ticks), scale.step, rtol=1e-3, atol=1e-9 * abs(low))


@pytest.mark.parametrize(
    "values, ends",
    [
        ([1e17, 1e17], ("9.99999e+16", "1.000001e+17")),
        ([-1e308, 1e308], ("−1e+300", "1e+300")),
        ([3.0], ("2.5", "3.5")),
    ],
)
def test_equal_and_very_large_values_have_a_scale(values, ends):
    scale = fit_scale(values, None, 0, 100)
    ticks = scale.ticks()
    assert (scale.tick_label(ticks[0]), scale.tick_label(ticks[-1])) == ends
    expected = [50, 50] if values[0] == values[-1] else [0, 100]
    assert [scale(value) for value in values] == pytest.approx(expected[: len(values)])
    assert math.isnan(scale(math.nan))
    assert "inf" not in lines("t", [Series("s", list(enumerate(values)))], "x", "y")


def test_ticks_of_an_axis_have_the_same_decimals():
    scale = fit_scale([0.0, 1.0], (0.0, 1.0), 0, 100, 6)
    assert [scale.tick_label(t) for t in scale.ticks()] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    scale = fit_scale([1, 30], None, 0, 100, 6, integers=True)
    assert [scale.tick_label(t) for t in scale.ticks()] == ["0", "5", "10", "15", "20", "25", "30"]
    scale = fit_scale([-0.5, 0.5], None, 0, 100, 2)
    assert [scale.tick_label(t) for t in scale.ticks()] == ["−0.5", "0.0", "0.5"]


def test_a_line_is_interrupted_where_a_value_is_missing():
    values = [(1, 0.0), (2, 1.0), (3, math.nan), (4, 3.0), (5, 4.0)]
    first, second = points_of(lines("t", [Series("s", values)], "x", "y"), "line c0")
    (x1, y1), (x2, y2), (_, y4), (x5, y5) = *first, *second
    assert x2 - x1 == pytest.approx((x5 - x1) / 4, abs=0.1)
    assert y1 - y2 == pytest.approx((y1 - y5) / 4, abs=0.1) and y1 > y2 > y4 > y5


def test_bars_are_as_long_as_their_values_and_reach_below_the_axis():
    svg = bars("t", ["a", "b", "b"], {"one": [1.0, 2.0, math.nan], "two": [-1.0, 0.5, 1.0]}, "y")
    heights = [float(h) for h in re.findall(r'class="bar c\d".*?height="([\d.]+)"', svg)]
    unit = heights[0]
    assert heights == pytest.approx([unit, unit, 2 * unit, unit / 2, unit], abs=0.2)
    assert svg.count(">b</text>") == 1  # neighbours of one name share it


def test_long_names_of_groups_have_two_lines_and_narrow_groups_none():
    svg = bars("t", ["one third of signals missing", *"abc"], {"s": [1.0] * 4}, "y")
    assert {"one third of", "signals mis…"} <= set(re.findall(r">([^<>]+)</text>", svg))
    many = bars("t", [f"site-{i}" for i in range(185)], {"s": [1.0] * 185}, "y")
    assert "site-7</text>" not in many and "site-7, s: 1" in many


def test_without_finite_values_there_is_no_figure():
    assert lines("t", [Series("s", [(1, math.nan)])], "x", "y") == ""
    assert bars("t", ["a"], {"s": [math.nan]}, "y") == ""


def test_the_corners_of_a_roc_curve_have_the_same_area():
    rng = np.random.default_rng(0)
    positives, negatives = rng.poisson(0.05, (2, 1000)).astype(float)
    turns = np.array(corners(*roc(positives, negatives)))
    assert np.trapezoid(turns[:, 1], turns[:, 0]) == pytest.approx(auroc(positives, negatives), abs=1e-12)
    assert len(turns) < 250


def test_a_window_shows_the_interval_and_isolated_samples():
    nan = math.nan
    samples = [[0.0, nan, 2.0, 3.0], [nan, 1.0, nan, nan]]
    quantiles = [[nan, v, nan, nan] for v in (1.1, 0.9, 1.3)]
    trace = Trace("<m>", "mV", *map(np.array, ([0, 1, 2, 3], *samples, *quantiles)))
    svg = traces("<t>", [trace], 0, 4, TimeUnit("h", 3600))
    assert ">time (h)</text>" in svg and "&lt;m&gt; (mV)" in svg
    assert [text in svg for text in (">0</text>", ">4</text>")] == [True, True]
    ((left, low), (right, _), _, (_, high)) = points_of(svg, "band")[0]
    assert right - left == pytest.approx(LARGEST_WIDTH)
    (_, median) = map(float, re.search(r'class="median" cx="([\d.]+)" cy="([\d.]+)"', svg).groups())
    assert high < median < low
    assert len(re.findall('<circle class="seen"', svg)) == 1 == len(re.findall('<circle class="truth"', svg))
    assert "<m>" not in svg and "<t>" not in svg and "&lt;m&gt;" in svg


def test_cells_are_shaded_by_their_share_and_colours_repeat():
    svg = heatmap("t", ["a"], ["x", "y"], np.array([[3, 1]]), np.array([[1.0, 0.5]]))
    first, second = (float(a) for a in re.findall(r"fill-opacity:([\d.]+)", svg))
    assert first == pytest.approx(2 * second) and ">3</text>" in svg
    many = lines("t", [Series(str(i), [(0, i), (1, i)]) for i in range(COLOURS + 1)], "x", "y")
    assert many.count('class="line c0"') == 1 and 'class="line c0 again"' in many


def test_sizes_have_a_unit():
    sizes = (1234567, 999, 7_000_000, 63_900, 837_400, 2.5e12)
    assert [size(n).text for n in sizes] == ["1.23 MB", "999 B", "7.00 MB", "63.9 kB", "837 kB", "2.50 TB"]
    rounded = (999_499, 999_950, 5e12, 999.7e12)
    assert [size(n).text for n in rounded] == ["999 kB", "1.00 MB", "5.00 TB", "1.00 PB"]


def test_ticks_have_space_beside_the_label_of_the_axis():
    svg = lines("t", [Series("s", [(1, 0.2683), (2, 0.2696)])], "round", "mean loss")
    ends = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end">([\d.]+)<', svg)
    assert len(ends) >= 3
    for end, text in ends:
        assert float(end) - 6.5 * len(text) >= 18, "the label of the axis ends at 14"


def test_a_name_is_not_broken_inside_a_word():
    svg = bars("t", ["relation", *["imputer-local"] * 2, *"abcdefgh"], {"s": [1.0] * 11}, "y")
    assert {"rel…", "imputer-", "local"} <= set(re.findall(r">([^<>]+)</text>", svg)) and ">ion<" not in svg


def test_the_diagonal_ends_where_the_axes_do():
    svg = lines("t", [Series("s", [(0.1, 0.2)])], "x", "y", x_range=(0, 0.4), y_range=(0, 0.4), diagonal=True)
    ((left, bottom), (right, top)) = points_of(svg, "even")[0]
    assert (left, right) == pytest.approx((54, 348)) and (bottom, top) == pytest.approx((262, 10))
