"""What a study says of its cells: means, marks, tests, tables, curves."""

import math

import numpy as np
import pytest

from condi_core.evaluation.catalogue import IMPUTER_ROWS
from server_app.study.curves import panels
from server_app.study.page import write_results
from server_app.study.statistics import compare, holm, mean_sd, rank_marks
from server_app.study.tables import all_tables, comparisons, in_order, overview_tables, task_table


def test_mean_and_sample_deviation():
    assert mean_sd([1.0, 2.0, 4.0]) == (pytest.approx(7 / 3), pytest.approx(math.sqrt(7 / 3)))
    mean, sd = mean_sd([0.7])
    assert mean == 0.7 and math.isnan(sd)
    assert all(math.isnan(x) for x in mean_sd([1.0, math.nan])), "nothing is left out in silence"


def test_the_best_and_those_within_the_spread_are_marked():
    assert rank_marks([(0.80, 0.01), (0.79, 0.001), (0.78, 0.001), (0.77, 0.05)]) == [
        "best",
        "tie",
        "",
        "tie",
    ]
    assert rank_marks([(0.3, 0.01), (0.2, 0.01), (0.205, 0.0)], higher=False) == ["", "best", "tie"]
    assert rank_marks([(0.8, math.nan), (0.79, math.nan), (0.8, math.nan)]) == ["best", "", "best"]
    assert rank_marks([(math.nan, math.nan), (0.5, 0.1)]) == ["", "best"]
    assert rank_marks([(math.nan, math.nan)]) == [""]


def test_wilcoxon_on_a_known_example():
    """Differences of 1 to 8, of which 1 and 2 are negative: W = 3, and of 256 sums five are no larger."""
    difference = np.array([-1.0, -2, 3, 4, 5, 6, 7, 8])
    found = compare(difference, np.zeros(8))
    assert found.test == "Wilcoxon" and found.p == pytest.approx(2 * 5 / 256) and found.pairs == 8
    assert found.difference == pytest.approx(30 / 8)
    assert compare(-difference, np.zeros(8)).p == pytest.approx(found.p)
    assert compare(-difference, np.zeros(8), higher=False).difference == pytest.approx(30 / 8)
    six = compare(np.arange(1.0, 7), np.zeros(6))
    assert six.p == pytest.approx(2 / 64) and compare(np.arange(1.0, 6), np.zeros(5)).test == "t"


def test_equal_pairs_and_nan_are_left_out_of_the_test():
    found = compare([1.0, 2, 3, 4, 5, 6, 7, math.nan], [0.0, 0, 0, 0, 0, 0, 7, 1])
    assert found.pairs == 7 and found.p == pytest.approx(2 / 64) and found.difference == pytest.approx(3)
    assert compare([1.0] * 8, [1.0] * 8).test == "none"
    assert compare([1.0], [0.5]).test == "none" and compare([], []).pairs == 0


def test_few_pairs_have_students_interval():
    """Of the differences 1, 2 and 3: mean 2, sd 1, and 4.303 is the 97.5 % point of t with 2 degrees."""
    found = compare([1.0, 2, 3], [0.0] * 3)
    half = 4.30265273 / math.sqrt(3)
    assert found.test == "t" and (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    other = compare([0.0] * 3, [1.0, 2, 3], higher=False)
    assert other == found


def test_holm():
    assert holm([0.01, 0.04, 0.03, math.nan])[:3] == [pytest.approx(p) for p in (0.03, 0.06, 0.06)]
    assert math.isnan(holm([0.01, math.nan])[1]) and holm([0.9, 0.8]) == [1.0, 1.0]


def texts(table):
    return [[cell.text for cell in row] for row in table.cells]


def row(method, seed, auroc, points=0.5, test="as in training", **more):
    missingness = f"points={points}" if points else "none"
    shown = {"data": "waves", "partition": "natural", "missingness": missingness, "test-missingness": test}
    shown["tested-on"] = missingness if test == "as in training" else test
    missing = {"missing": points, "missing-in-test": points if test == "as in training" else 0.9}
    metrics = {"auroc": auroc, "auprc": 0.5, "f1": 0.5, "accuracy": 0.5}
    cost = {"seconds": 2.0, "bytes-down": 10, "bytes-up": 5, "parameters": 99, "local-steps": 6}
    told = {"seed": seed, "method": method, "learning-rate": 0.003, "code": "x", "run": "r"}
    return {**shown, **missing, **metrics, **cost, **told, **more}


ROWS = [
    row(method, seed, base - 0.2 * points + 0.01 * seed, points)
    for points in (0.0, 0.4, 0.8)
    for method, base in (("condi", 0.9), ("mask", 0.85))
    for seed in (0, 1, 2)
]


def test_naive_rows_come_first():
    assert in_order(["condi", "fedprox", "linear", "mask"]) == ["mask", "linear", "condi", "fedprox"]
    table = task_table(ROWS[:6], "here")
    assert [row[0] for row in texts(table)] == ["mask", "condi"]
    mask, condi = (row[1] for row in table.cells)
    assert condi.text == "0.910 ± 0.010" and condi.mark == "best" and mask.mark == ""
    assert table.cells[0][2].mark == table.cells[1][2].mark == "best" and texts(table)[0][-1] == "3"


def test_an_overview_has_a_column_for_each_kind_of_holes():
    (table,) = overview_tables(ROWS, "auroc")
    assert table.title == "AUROC, waves, natural; holes in training and in test"
    assert table.columns == ["", "none", "points=0.4", "points=0.8"]
    assert texts(table)[1] == ["condi", "0.910 ± 0.010", "0.830 ± 0.010", "0.750 ± 0.010"]
    assert [table.cells[i][j].mark for j in (1, 2, 3) for i in (0, 1)] == ["", "best"] * 3
    assert overview_tables(ROWS[:6], "auroc") == [], "one column says nothing that the task's table does not"

    tests = [row("condi", 0, 0.9, 0.4), row("mask", 0, 0.8, 0.4, test="gaps=0.9")]
    (table,) = overview_tables(tests, "auroc")
    assert table.title.endswith("holes in test, trained with points=0.4")
    assert table.columns[1:] == ["points=0.4", "gaps=0.9"]
    assert texts(table) == [["mask", "–", "0.800"], ["condi", "0.900", "–"]]
    other = [row("mask", 0, 0.7, 0.2), row("mask", 0, None, 0.3)]
    (table,) = overview_tables([tests[1], *other], "auroc")
    assert table.columns[1:] == ["points=0.4 → gaps=0.9", "points=0.2 → points=0.2"]
    assert texts(table) == [["mask", "0.800", "0.700"]], "what has no such metric has no column"
    assert len(overview_tables([*ROWS, *(r | {"data": "icu"} for r in ROWS)], "auroc")) == 2


def test_naive_imputers_stand_in_the_imputation_table_once_per_run():
    told = {f"imputation: gaps: {n}: rmse": v for n, v in (("condi", 0.2), ("linear", 0.4), ("mean", 1.0))}
    rows = [row("condi", s, 0.9, **{k: v + 0.1 * s for k, v in told.items()}) for s in (0, 1)]
    rows += [row("mask", 0, 0.9, **dict.fromkeys(told))]
    table = next(t for t in all_tables(rows, "auroc") if t.title.startswith("Imputation"))
    assert [row[0] for row in texts(table)] == [
        IMPUTER_ROWS[name].label for name in ("mean", "linear", "condi")
    ]
    cell = table.cells[2][1]
    assert cell.text == "0.250 ± 0.071" and cell.mark == "best"


def test_pairs_are_of_the_same_scenario_and_seed():
    found = comparisons(ROWS, "auroc")
    assert found.keys() == {"mask"} and found["mask"].pairs == 9
    assert found["mask"].difference == pytest.approx(0.05) and found["mask"].p == pytest.approx(2 / 512)
    assert comparisons(ROWS[:-3], "auroc")["mask"].pairs == 6
    assert comparisons([r for r in ROWS if r["method"] == "mask"], "auroc") == {}


def test_curves_run_over_the_share_that_is_missing_in_test():
    (panel,) = panels(ROWS, "auroc")
    assert list(panel.lines) == ["mask", "condi"]
    shares, means, deviations = zip(*panel.lines["condi"], strict=True)
    assert shares == (0.0, 0.4, 0.8) and means == pytest.approx((0.91, 0.83, 0.75))
    assert deviations == pytest.approx((0.01,) * 3)
    assert panels(ROWS[:6], "auroc") == [], "one share makes no curve"


def test_other_holes_in_test_are_a_panel_for_each_training():
    rows = [row("mask", 0, 0.8, 0.4), row("mask", 0, 0.6, 0.4, test="points=0.9"), row("mask", 0, 0.9, 0.0)]
    found = {p.title.partition(": ")[2]: p.lines["mask"] for p in panels(rows, "auroc")}
    assert [s for s, *_ in found["points"]] == [0.0, 0.4]
    assert [(s, m) for s, m, _ in found["trained with points=0.4"]] == [(0.4, 0.8), (0.9, 0.6)]


def test_the_page_holds_tables_curves_and_the_study(tmp_path):
    text, paths = write_results(tmp_path, "a<b", 'methods = ["<script>"]', ROWS, "auroc")
    page = (tmp_path / "study.html").read_text()
    assert page.count("<svg") == 1 and page.count("<table>") == 1 + 3 * 2 + 1
    assert "a&lt;b" in page and page.count("<script>") == 1 and "http://" not in page.partition("</svg>")[2]
    assert "0.910 ± 0.010" in text and (tmp_path / "table.txt").read_text() == text
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert set(paths) == {"cells", "text", "markdown", "html", "curves"}


def test_cells_of_different_code_are_told(tmp_path):
    text, _ = write_results(tmp_path, "x", "", [*ROWS, row("mask", 9, 0.1, code="y")], "auroc")
    assert "different versions of the code" in text
