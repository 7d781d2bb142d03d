"""The form of text files is guessed, and what their columns hold."""

import pandas as pd
import pytest

from data_partitions.checks.guess.event_sample import find_layout
from data_partitions.checks.guess.roles import find_labels, find_patient, find_record_column, find_site
from data_partitions.checks.guess.tables import describe_column, guess_writing, sniff_table
from data_partitions.errors import DataError


@pytest.mark.parametrize(
    ("text", "separator", "decimal"),
    [
        ("a,b\n1.5,2\n2.5,3\n", ",", "."),
        ("a;b\n1,5;2\n2,5;3\n", ";", ","),
        ("a\tb\n1.5\t2\n", "\t", "."),
        ('a,b\n"x, y",2\n"z, w",3\n', ",", "."),
    ],
)
def test_separator_and_decimal_are_guessed(tmp_path, text, separator, decimal):
    written = guess_writing(text.encode(), tmp_path / "t.csv")
    assert (written.separator, written.decimal) == (separator, decimal)


def test_latin_1_is_recognised_and_prose_is_no_table(tmp_path):
    assert guess_writing("stadt,wert\nKöln,1\n".encode("latin-1"), tmp_path / "t.csv").encoding == "latin-1"
    with pytest.raises(DataError, match="no common separator"):
        guess_writing(b"This is a licence.\nIt is long.\n", tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "", "-3"], "number"),
        (["00:07", "47:30"], "clock"),
        (["2150-01-31 12:00:00", "2150-02-01"], "datetime"),
        (["31.01.2020 12:00", "01.02.2020 13:00"], "datetime"),
        (["F", "M"], "text"),
        (["", "NA"], "empty"),
    ],
)
def test_the_kind_of_a_column_is_guessed(cells, kind):
    assert describe_column("x", pd.Series(cells)).kind == kind


def test_numbers_with_a_few_texts_are_numbers():
    facts = describe_column("age", pd.Series([str(i) for i in range(60)] + ["> 89"]))
    assert facts.kind == "number"


def facts_of(table: dict[str, list[str]]):
    return {name: describe_column(name, pd.Series(cells)) for name, cells in table.items()}


def test_roles_of_columns_are_guessed_by_name_and_content():
    columns = facts_of(
        {
            "patient_id": ["1", "2", "2"],
            "hospital": ["A", "B", "A"],
            "died": ["0", "1", "0"],
            "rhythm_class": ["SR", "AF", "SR"],
        }
    )
    assert find_patient(columns) == "patient_id"
    assert find_site(columns) == "hospital"
    assert find_labels(columns) == ["died", "rhythm_class"]


def test_the_record_column_has_the_names_of_most_files():
    columns = {"id": ["1", "2", "3"], "name": ["a", "b", "c"]}
    assert find_record_column(columns, ["a", "b", "x"]) == ("name", pytest.approx(2 / 3))
    assert find_record_column(columns, ["x", "y"]) == ("", 0.0)


def test_wide_and_long_tables_over_time_are_told_apart():
    wide = facts_of(
        {"stay_id": ["1", "1", "2", "2"], "time": ["0", "1", "0", "1"], "hr": ["80", "81", "90", "9"]}
    )
    layout = find_layout(wide, one_file_per_recording=False)
    assert (layout.time, layout.record, layout.signals) == ("time", "stay_id", ("hr",))
    long = facts_of({"Time": ["00:00", "00:07"], "Parameter": ["HR", "Temp"], "Value": ["80", "37.1"]})
    layout = find_layout(long, one_file_per_recording=True)
    assert (layout.variable, layout.value, layout.time_unit) == ("Parameter", "Value", "h")
    labels = facts_of({"stay_id": ["1", "2"], "label": ["0", "1"]})
    assert find_layout(labels, one_file_per_recording=False) is None


def test_cells_are_read_without_blanks(tmp_path):
    (tmp_path / "t.csv").write_text("ID,Sex\n1, F\n2,M \n")
    assert sniff_table(tmp_path / "t.csv").rows["Sex"].tolist() == ["F", "M"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_numbers_of_rows_that_pandas_writes_are_no_column(tmp_path, suffix):
    table = pd.DataFrame({"stay": ["a", "b"], "hr": ["70", "80"]}, index=[3, 7])
    path = tmp_path / f"t.{suffix}"
    table.to_csv(path) if suffix == "csv" else table.to_parquet(path)
    assert list(sniff_table(path).columns) == ["stay", "hr"]
