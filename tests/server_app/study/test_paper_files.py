"""What a paper takes from a study: a tidy csv file, LaTeX tables and readable names."""

import re

import numpy as np
import pytest

from condi_core.methods import METHODS
from data_partitions.table import Cell, Table
from server_app.study.labels import method_label, missingness_in_words
from server_app.study.latex import escape_latex, to_latex
from server_app.study.long_form import COLUMNS, long_rows
from server_app.study.tables import all_tables
from tests.helpers.run_settings import PROJECT
from tests.helpers.study_cells import CELLS, cell


def check_latex(text):
    """Check braces, environments, the cells of each row, and that no character has another meaning."""
    text = text.replace("}{!}{%\n", "}{!}{\n")  # the one comment, which joins two lines
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)  # without escaped characters
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert bare.isascii() and not re.search(r"[%#_^~](?![{}]*2\})", bare.replace("^{2}", ""))
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    for alignment, body in re.findall(r"begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if "&" in line]
        assert rows and all(row.endswith(r" \\") for row in rows)
        counts = {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows}
        assert counts == {len(alignment)}
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_every_table_of_a_study_is_latex():
    imputation = {"points 50 %": {"condi": {"rmse": 0.2}, "a_b": {"rmse": 0.3}}}
    cells = [*CELLS, *(cell("condi", s, 0.9, imputation=imputation, data="a&b_c") for s in (0, 1))]
    tables = all_tables(cells, "auroc")
    assert len(tables) > 8
    for table in tables:
        check_latex(to_latex(table, "tab:x"))


def test_a_latex_table_marks_the_best_and_escapes_text():
    rows = [[Cell("a_b & c"), Cell("0.9 ± 0.1", 0.9, "best")], [Cell("{x}"), Cell("-0.8", -0.8, "tie")]]
    text = to_latex(Table("20 % of points", ["", "R²"], rows, "* marks the best; ~ marks a tie."), "tab:a")
    check_latex(text)
    assert r"\caption{20\,\% of points}" in text and r"\label{tab:a}" in text
    assert r"a\_b \& c & \textbf{0.9 $\pm$ 0.1} \\" in text and r"\{x\} & \underline{$-$0.8} \\" in text
    assert " & R$^{2}$ " in text and "Bold marks the best; underlining marks a tie." in text


def test_latex_of_odd_texts():
    assert escape_latex("a\\b~c^d\n1–2 → x±y") == (
        r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d 1--2 $\rightarrow$ x$\pm$y"
    )
    assert escape_latex("ptb-xl -0.5 x") == "ptb-xl $-$0.5 x", "a hyphen in a word stays"


def test_the_long_form_has_a_number_a_row():
    draws = {"auroc": np.linspace(0.8, 0.9, 101)}
    imputation = {"gaps 50 %": {"linear": {"rmse": 0.4, "mae": 0.3}}}
    errors = {("gaps 50 %", "linear", "rmse"): np.linspace(0.3, 0.5, 101)}
    changes = {"replicates": draws, "imputation_replicates": errors}
    rows = list(long_rows([cell("condi", 3, 0.85, imputation=imputation, **changes)]))
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert all(row["seed"] == 3 and row["missingness"] == "points=0.5" for row in rows)
    values = {(r["part"], r["pattern"], r["imputer"], r["metric"], r["statistic"]): r["value"] for r in rows}
    assert len(values) == len(rows) == (4 + 2) + (2 + 2) + 7, "task, imputation, and training"
    assert values["task", "", "", "auroc", "estimate"] == 0.85
    assert values["task", "", "", "auroc", "low"] == pytest.approx(0.8025)
    assert values["imputation", "gaps 50 %", "linear", "rmse", "estimate"] == 0.4
    assert values["imputation", "gaps 50 %", "linear", "rmse", "high"] == pytest.approx(0.495)
    assert values["training", "", "", "seconds", "estimate"] == 2.0


def test_a_metric_that_a_cell_lacks_has_no_row():
    rows = list(long_rows([cell("condi", 0, None)]))
    assert "auroc" not in {row["metric"] for row in rows} and "f1" in {row["metric"] for row in rows}


def test_every_method_has_a_label_of_its_own():
    labels = [method_label(name) for name in METHODS]
    assert len(set(labels)) == len(METHODS) and all(method.label for method in METHODS.values())
    assert method_label("condi") == "CondI" and method_label("unknown") == "unknown"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("none", "complete"),
        ("points=0.2 gaps=0.5", "20 % of points, 50 % in gaps"),
        ("gaps=0.5 gap-patches=5", "50 % in gaps"),
        ("gaps=0.5 gap-patches=7 gaps-mechanism=mnar", "50 % in gaps (gaps-mechanism mnar, gap-patches 7)"),
        ("modality-by-window=0.3333", "33.3 % of signals"),
        ("modality-by-site=0.5 subsample-to=2.5", "2.5 samples per patch, 50 % of signals of a site"),
        ("as in training", "as in training"),
    ],
)
def test_missingness_in_words(text, words):
    assert missingness_in_words(text) == words


def test_the_documentation_lists_the_columns_of_the_long_form():
    text = (PROJECT / "docs" / "studies.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text.partition("| column |")[2], re.MULTILINE)
    assert dict(rows) == COLUMNS
