"""Tables: the same cells as text, Markdown and HTML."""

import csv
import io
import math
from pathlib import Path

import pytest

from data_partitions.table import Cell, CsvWriter, Table, format_number

PROJECT = Path(__file__).parents[2]

TABLE = Table(
    "T|",
    ["", "a|b", "c"],
    [["x<y", Cell("0.1", 0.1, "tie"), 3], ["z", Cell("10.2 ± 0.1", 10.2, "best"), None], ["w", None, 12.5]],
    "n*",
)


def test_numbers_are_aligned_by_their_decimal_points():
    assert TABLE.to_text().splitlines() == [
        "T|",
        "                a|b     c",
        "  x<y   0.1 ~         3",
        "  z    10.2 ± 0.1 *   –",
        "  w     –            12.5",
        "  n*",
    ]


def test_numbers_of_several_units_are_aligned_at_their_end():
    sizes = [[name, Cell(text, 1.0)] for name, text in (("a", "1.34 MB"), ("b", "108 kB"))]
    assert Table("", ["", "size"], sizes).to_text().splitlines()[1:] == ["a  1.34 MB", "b   108 kB"]
    assert 'class="pad"' not in Table("", ["", "size"], sizes).to_html()


def test_markdown_and_html_escape_their_cells():
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "### T\\|" and lines[2] == "|  | a\\|b | c |" and lines[3] == "| --- | ---: | ---: |"
    assert lines[4] == "| x\\<y | 0.1 ~ | 3 |" and lines[5] == "| z | 10.2 ± 0.1 \\* | – |"
    assert lines[-1] == "n\\*"
    page = TABLE.to_html()
    assert '<td class="n" data-value="10.2"><mark>10.2 ± 0.1 *</mark></td>' in page
    assert "x&lt;y" in page and "x<y" not in page and "<caption>T|</caption>" in page
    # What other numbers of the column have after the decimal point is shown invisibly.
    assert '<td class="n" data-value="3">3<i class="pad" data-end=".5"></i></td>' in page


@pytest.mark.parametrize("width", [30, 44, 80, None])
def test_text_is_wrapped_to_its_width_without_loss(width):
    words = "one two three four five six seven eight nine ten"
    text = Table("Title", ["name", "value", "remark"], [["a", 1.5, words], ["b", 22, "short"]]).to_text(width)
    assert max(map(len, text.splitlines())) <= (width or 200)
    assert all(word in text for word in words.split()) and "1.5" in text


def test_numbers_are_never_wrapped_and_texts_are_narrowed_first():
    interval = Cell("0.821\n0.667–1.000", 0.821)
    text = Table("", ["name", *"abcdef"], [["a name of words", *[interval] * 6]]).to_text(80).splitlines()
    assert len(text) == 4 and text[1].count("0.821") == 6 and text[2].count("0.667–1.000") == 6
    assert [line[:8].strip() for line in text[1:]] == ["a name", "of", "words"]


def test_a_table_without_rows_has_a_sentence():
    empty = Table("Results", ["a", "b"], [])
    assert empty.to_text() == "Results: none" and empty.to_html() == "<p>Results: none.</p>"


def test_numbers_are_short_and_their_values_exact():
    values = (3, 0.123456, 12345.6, math.nan, None, 1e-7)
    assert [format_number(value) for value in values] == ["3", "0.1235", "12346", "–", "–", "1e-07"]
    assert 'data-value="0.1"' in Table("c", ["a", "b"], [["x", 0.1]]).to_html()
    assert 'data-value="123456789012345"' in Table("c", ["a", "b"], [["x", 123456789012345]]).to_html()


def test_control_characters_do_not_reach_a_terminal():
    assert "\x1b" not in Table("", ["a"], [["x\x1b[31m"]]).to_text()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-a", "'-a"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\n'=1"),
        ("＝1", "'＝1"),
        ("a;=1+1", "a;'=1+1"),  # two cells where semicolons separate them
        ("a-b=c", "a-b=c"),
        ("-0.500000", "-0.500000"),
        ("+3e-5", "+3e-5"),
        (-0.5, "-0.5"),
        (None, ""),
    ],
)
def test_no_cell_of_a_csv_file_is_a_formula_and_numbers_stay(text, cell):
    file = io.StringIO(newline="")
    CsvWriter(file).writerow(["first", text])
    assert next(csv.reader(io.StringIO(file.getvalue(), newline=""))) == ["first", cell]


def test_csv_files_for_people_have_one_writer():
    packages = ("condi_core", "data_partitions", "client_app", "server_app")
    files = [file for package in packages for file in (PROJECT / package).rglob("*.py")]
    words = ("csv.writer(", "DictWriter(")
    assert {file.name for file in files if any(word in file.read_text() for word in words)} == {"table.py"}
