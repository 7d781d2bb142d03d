"""Results of a study: means, marks, tests, tables and curves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from server_app.artifacts.estimates import Estimate
from server_app.study.comparison import comparison_table, comparisons
from server_app.study.curves import curve_panels
from server_app.study.labels import naive_first
from server_app.study.page import write_results
from server_app.study.statistics import adjust_holm, compare_pairs, mean_sd
from server_app.study.tables import all_tables, overview_tables, task_table
from tests.helpers.study_cells import CELLS, cell


def test_mean_and_sample_deviation():
    assert mean_sd([1.0, 2.0, 4.0]) == (pytest.approx(7 / 3), pytest.approx(math.sqrt(7 / 3)))
    mean, sd = mean_sd([0.7])
    assert mean == 0.7 and math.isnan(sd)
    assert all(math.isnan(x) for x in mean_sd([1.0, math.nan])), "no value is excluded silently"


def compare(first, second, **options):
    return compare_pairs(
        [Estimate(value) for value in first], [Estimate(value) for value in second], **options
    )


def test_wilcoxon_on_a_known_example():
    """Differences of 1 to 8, of which 1 and 2 are negative: W = 3, and of 256 sums five are no larger."""
    difference = np.array([-1.0, -2, 3, 4, 5, 6, 7, 8])
    comparison = compare(difference, np.zeros(8))
    assert (
        comparison.test == "Wilcoxon" and comparison.p == pytest.approx(2 * 5 / 256) and comparison.pairs == 8
    )
    assert comparison.difference == pytest.approx(30 / 8)
    assert compare(-difference, np.zeros(8)).p == pytest.approx(comparison.p)
    assert compare(-difference, np.zeros(8), higher_is_better=False).difference == pytest.approx(30 / 8)
    six = compare(np.arange(1.0, 7), np.zeros(6))
    assert six.p == pytest.approx(2 / 64) and compare(np.arange(1.0, 6), np.zeros(5)).test == "t"


def test_equal_pairs_and_nan_are_excluded_from_the_test():
    comparison = compare([1.0, 2, 3, 4, 5, 6, 7, math.nan], [0.0, 0, 0, 0, 0, 0, 7, 1])
    assert (
        comparison.pairs == 7
        and comparison.p == pytest.approx(2 / 64)
        and comparison.difference == pytest.approx(3)
    )
    assert compare([1.0] * 8, [1.0] * 8).test == "none"
    assert compare([1.0], [0.5]).test == "none" and compare([], []).pairs == 0


def test_few_pairs_have_students_confidence_interval():
    """Of the differences 1, 2 and 3: mean 2, sd 1, and 4.303 is the 97.5 % point of t with 2 degrees."""
    comparison = compare([1.0, 2, 3], [0.0] * 3)
    half_width = 4.30265273 / math.sqrt(3)
    assert comparison.test == "t" and (comparison.low, comparison.high) == pytest.approx(
        (2 - half_width, 2 + half_width)
    )
    reverse = compare([0.0] * 3, [1.0, 2, 3], higher_is_better=False)
    assert reverse == comparison


def test_holm_adjustment():
    assert adjust_holm([0.01, 0.04, 0.03, math.nan])[:3] == [pytest.approx(p) for p in (0.03, 0.06, 0.06)]
    assert math.isnan(adjust_holm([0.01, math.nan])[1]) and adjust_holm([0.9, 0.8]) == [1.0, 1.0]


def texts(table):
    return [[cell.text for cell in row] for row in table.cells]


def test_naive_methods_come_first():
    assert naive_first(["condi", "fedprox", "linear", "mask"]) == ["mask", "linear", "condi", "fedprox"]
    table = task_table(CELLS[:6], "a scenario")
    assert [row[0] for row in texts(table)] == ["FedAvg", "CondI"]
    mask, condi = (row[1] for row in table.cells)
    assert condi.text == "0.910 ± 0.010" and condi.mark == "best" and mask.mark == ""
    assert table.cells[0][2].mark == table.cells[1][2].mark == "best" and texts(table)[0][-1] == "3"


def test_an_overview_has_a_column_for_each_missingness():
    (table,) = overview_tables(CELLS, "auroc")
    assert table.title == "AUROC, waves, natural; missingness in training and test"
    assert table.columns == ["", "complete", "40 % of points", "80 % of points"]
    assert texts(table)[1] == ["CondI", "0.910 ± 0.010", "0.830 ± 0.010", "0.750 ± 0.010"]
    assert [table.cells[i][j].mark for j in (1, 2, 3) for i in (0, 1)] == ["", "best"] * 3
    assert overview_tables(CELLS[:6], "auroc") == [], "a single column repeats the table of the task"

    tests = [cell("condi", 0, 0.9, 0.4), cell("mask", 0, 0.8, 0.4, test="gaps=0.9")]
    (table,) = overview_tables(tests, "auroc")
    assert table.title.endswith("missingness in test, trained with 40 % of points")
    assert table.columns[1:] == ["40 % of points", "90 % in gaps"]
    assert texts(table) == [["FedAvg", "–", "0.800"], ["CondI", "0.900", "–"]]
    others = [cell("mask", 0, 0.7, 0.2), cell("mask", 0, None, 0.3)]
    (table,) = overview_tables([tests[1], *others], "auroc")
    assert table.columns[1:] == [
        "40 % of points → 90 % in gaps",
        "20 % of points → 20 % of points",
    ]
    assert texts(table) == [["FedAvg", "0.800", "0.700"]], "a cell without the metric has no column"
    assert len(overview_tables([*CELLS, *(replace(c, data="icu") for c in CELLS)], "auroc")) == 2


def test_naive_imputers_are_in_the_imputation_table_once_per_run():
    rmse = {"condi": 0.2, "linear": 0.4, "mean": 1.0}
    cells = [
        cell("condi", s, 0.9, imputation={"gaps": {n: {"rmse": v + 0.1 * s} for n, v in rmse.items()}})
        for s in (0, 1)
    ]
    cells += [cell("mask", 0, 0.9), replace(cells[0], method="estimate")]
    table = next(t for t in all_tables(cells, "auroc") if t.title.startswith("Imputation"))
    assert [row[0] for row in texts(table)] == [
        "mean of the modality",
        "linear interpolation",
        "CondI, point estimate",
    ]
    condi = table.cells[2][1]
    assert condi.text == "0.250 ± 0.071" and condi.mark == "best"


def test_pairs_are_of_the_same_scenario_and_seed():
    results = comparisons(CELLS, "auroc")
    assert results.keys() == {"mask"} and results["mask"].pairs == 9
    assert results["mask"].difference == pytest.approx(0.05) and results["mask"].p == pytest.approx(2 / 512)
    assert comparisons(CELLS[:-3], "auroc")["mask"].pairs == 6
    assert comparisons([c for c in CELLS if c.method == "mask"], "auroc") == {}


def test_the_comparison_has_a_p_value_or_a_confidence_interval():
    table = comparison_table(CELLS, "auroc")
    assert table.columns == ["CondI minus", "AUROC", "pairs", "p-value or confidence interval"]
    assert texts(table) == [["FedAvg", "+0.050", "9", "p = 0.0039 (Holm 0.0039)"]]
    few = texts(comparison_table([*CELLS[:3], cell("mask", 0, 0.8, 0), cell("mask", 1, 0.85, 0)], "auroc"))
    assert few[0][2] == "2" and few[0][3].endswith("(95 %, Student's t)")


def test_coverage_is_a_share_of_which_none_is_best():
    """Ideally it is 90 %: neither the highest nor the lowest is marked."""
    shares = {"condi": 0.91, "mask": 1.0}
    cells = [cell(m, s, None, metrics={"coverage": share}) for m, share in shares.items() for s in (0, 1)]
    others = [replace(c, missingness="none") for c in cells]
    for table in (task_table(cells, "a scenario"), *overview_tables([*cells, *others], "coverage")):
        assert [row[1].text for row in table.cells] == ["100.0 % ± 0.0 %", "91.0 % ± 0.0 %"]
        assert [row[1].mark for row in table.cells] == ["", ""]
    assert texts(comparison_table(cells, "coverage"))[0][:3] == ["FedAvg", "-9.0 %", "2"]


def test_methods_without_a_pair_that_is_defined_are_not_compared():
    cells = [cell("condi", 0, 0.9), cell("mask", 0, math.nan), cell("linear", 0, 0.8)]
    assert comparisons(cells, "auroc").keys() == {"linear"}
    assert comparison_table(cells[:2], "auroc") is None


def test_curves_are_over_the_fraction_that_is_missing_in_test():
    (panel,) = curve_panels(CELLS, "auroc")
    assert list(panel.lines) == ["mask", "condi"]
    fractions, means, deviations = zip(*panel.lines["condi"], strict=True)
    assert fractions == (0.0, 0.4, 0.8) and means == pytest.approx((0.91, 0.83, 0.75))
    assert deviations == pytest.approx((0.01,) * 3)
    assert curve_panels(CELLS[:6], "auroc") == [], "a single fraction is not a curve"


def test_scenarios_that_hide_the_same_share_are_points_of_their_own():
    """Points of 20 % and gaps of 50 % hide 60 %, and so they do the other way round: no two seeds."""
    scenarios = {"points=0.2 gaps=0.5": 0.8, "points=0.5 gaps=0.2": 0.6, "points=0.5 gaps=0.5": 0.5}
    cells = [
        cell("mask", seed, auroc + 0.01 * seed, share, missingness=name, missingness_in_test=name)
        for (name, auroc), share in zip(scenarios.items(), (0.6, 0.6, 0.75), strict=True)
        for seed in (0, 1)
    ]
    (panel,) = curve_panels(cells, "auroc")
    fractions, means, deviations = zip(*panel.lines["mask"], strict=True)
    assert fractions == (0.6, 0.6, 0.75) and means == pytest.approx((0.805, 0.605, 0.505))
    assert deviations == pytest.approx((0.00707,) * 3, abs=1e-5)
    assert curve_panels(cells[:4], "auroc") == [], "a single fraction is not a curve"


def test_other_missingness_in_test_has_a_panel_for_each_training():
    cells = [
        cell("mask", 0, 0.8, 0.4),
        cell("mask", 0, 0.6, 0.4, test="points=0.9"),
        cell("mask", 0, 0.9, 0.0),
    ]
    lines = {p.title.partition(": ")[2]: p.lines["mask"] for p in curve_panels(cells, "auroc")}
    assert [fraction for fraction, *_ in lines["points"]] == [0.0, 0.4]
    assert [(x, y) for x, y, _ in lines["trained with 40 % of points"]] == [(0.4, 0.8), (0.9, 0.6)]


def test_the_page_has_tables_curves_and_the_study(tmp_path):
    text, paths = write_results(tmp_path, "a<b", 'methods = ["<script>"]', CELLS, "auroc")
    page = (tmp_path / "study.html").read_text()
    assert page.count("<svg") == 2 and page.count("<table>") == 1 + 3 * 2 + 1
    assert "a&lt;b" in page and page.count("<script>") == 1 and "http://" not in page.rpartition("</svg>")[2]
    assert "0.910 ± 0.010" in text and (tmp_path / "table.txt").read_text() == text
    assert set(paths) == {path.name for path in tmp_path.iterdir()} == {
        "cells.csv", "results.csv", "table.txt", "table.md", "tables.tex", "study.html",
        "scores.svg", "scores.pdf", "curves.svg", "curves.pdf",
    }  # fmt: skip
    assert (tmp_path / "curves.pdf").read_bytes()[:5] == b"%PDF-"
    assert ">AUROC</text>" in (tmp_path / "scores.svg").read_text(), "text stays text"


def test_dollar_signs_in_names_are_no_formulas(tmp_path):
    """Of two, matplotlib makes a formula, and of what is none an error."""
    name = "cost $ of % $ icu_a"
    write_results(tmp_path, "x", "", [replace(c, data=name, partition=name) for c in CELLS], "auroc")
    for figure in ("scores.svg", "curves.svg"):
        assert f"{name}, {name}" in (tmp_path / figure).read_text()


def test_a_figure_that_fails_takes_no_numbers(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError

    monkeypatch.setattr("server_app.study.page.draw_dots", fail)
    with pytest.raises(ValueError):
        write_results(tmp_path, "x", "", CELLS, "auroc")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"cells.csv", "results.csv", "table.txt", "table.md", "tables.tex"}


def test_cells_of_different_code_are_noted(tmp_path, monkeypatch):
    monkeypatch.setattr("server_app.study.page.matplotlib_is_installed", lambda: False)
    text, paths = write_results(tmp_path, "x", "", [*CELLS, cell("mask", 9, 0.1, code="y")], "auroc")
    assert "different versions of the code" in text
    assert "scores.svg" not in paths and "Figures need matplotlib" in (tmp_path / "study.html").read_text()
