"""Files by patterns, and the rows of the table that belong to them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_partitions.errors import DataError
from data_partitions.recordings import find_recordings
from data_partitions.sources.described.files import fill_pattern, match_files
from data_partitions.sources.described.listing import ListedRecording, list_recordings
from data_partitions.sources.described.splits import split_patients
from data_partitions.sources.described.table import parse_number, read_cells
from tests.helpers.descriptions import describe


def make_files(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.hea", [("b.hea", {})]),
        ("**/*.hea", [("a/a1.hea", {}), ("a/c/c1.hea", {}), ("b.hea", {})]),
        ("{ward}/{record}.hea", [("a/a1.hea", {"ward": "a", "record": "a1"})]),
        ("{ward}/{ward}{number}.hea", [("a/a1.hea", {"ward": "a", "number": "1"})]),
        ("**/{kind:1}{number}.hea", [("a/a1.hea", {"kind": "a", "number": "1"}),
                                     ("a/c/c1.hea", {"kind": "c", "number": "1"})]),
        ("a/c/c1.hea", [("a/c/c1.hea", {})]),
        ("B.hea", []),
    ],
)  # fmt: skip
def test_patterns_match_whole_names_and_give_their_fields(tmp_path, pattern, expected):
    make_files(tmp_path, "a/a1.hea", "a/c/c1.hea", "b.hea", "b.hea.old", ".hidden/b.hea", "a/.a1.hea")
    matches = match_files(tmp_path, pattern)
    assert [(m.path.relative_to(tmp_path).as_posix(), m.fields) for m in matches] == expected


def test_quantiles_beside_completed_files_are_matched_only_where_nothing_else_is(tmp_path):
    make_files(tmp_path, "r1.hea", "quantiles/q05/r1.hea", "quantiles/q95/r1.hea")
    assert [match.path.name for match in match_files(tmp_path, "**/{record}.hea")] == ["r1.hea"]
    assert len(match_files(tmp_path, "quantiles/*/{record}.hea")) == 2


def test_linked_folders_are_followed_without_end(tmp_path):
    source = tmp_path / "source"
    make_files(source, "a/1.hea", "a/.hidden/2.hea")
    make_files(tmp_path, "disk/c/3.hea")
    (source / "b").symlink_to(tmp_path / "disk")
    (source / "also").symlink_to(tmp_path / "disk")
    (source / "a" / "up").symlink_to(source)
    (tmp_path / "disk" / "c" / "same").symlink_to(tmp_path / "disk" / "c")
    expected = ["a/1.hea", "also/c/3.hea", "b/c/3.hea"]
    for folder in (source, tmp_path / "source" / ".." / "source"):
        paths = [
            match.path.relative_to(folder).as_posix() for match in match_files(folder, "**/{record}.hea")
        ]
        assert paths == expected
    assert [file.relative_to(source).as_posix() for file in find_recordings(source)] == expected


def test_patterns_are_filled_with_fields():
    assert fill_pattern("{night:5}/{part}", {"night": "SC4001E", "part": "x"}) == "SC400/x"
    with pytest.raises(DataError, match='no field "nigth": did you mean "night"'):
        fill_pattern("{nigth}", {"night": "SC4001E"})


def test_without_a_table_each_file_is_a_recording_and_a_patient(tmp_path):
    make_files(tmp_path, "x1.hea", "x2.hea")
    listing = list_recordings(describe(files={"format": "wfdb", "path": "*.hea"}), tmp_path)
    assert [(r.record, r.patient, r.site) for r in listing.recordings] == [("x1", "x1", ""), ("x2", "x2", "")]


def test_patients_and_sites_are_patterns_of_the_path_where_there_is_no_table(tmp_path):
    make_files(tmp_path, "north/p1_a.hea", "north/p1_b.hea", "south/p2_a.hea")
    table = {"record": "{ward}-{patient}-{part}", "patient": "{patient}", "site": "{ward}"}
    description = describe(files={"format": "wfdb", "path": "{ward}/{patient}_{part}.hea"}, table=table)
    listing = list_recordings(description, tmp_path)
    assert [(r.record, r.patient, r.site) for r in listing.recordings] == [
        ("north-p1-a", "p1", "north"),
        ("north-p1-b", "p1", "north"),
        ("south-p2-a", "p2", "south"),
    ]


def test_rows_and_files_are_joined_and_what_is_alone_is_listed(tmp_path):
    make_files(tmp_path, "r/1.hea", "r/2.hea", "r/9.hea")
    (tmp_path / "t.csv").write_text("file,who\nr/1,7\nr/2,8\nr/3,8\n")
    table = {"path": "t.csv", "record": "file", "patient": "who"}
    listing = list_recordings(describe(files={"format": "wfdb", "path": "{file}.hea"}, table=table), tmp_path)
    assert [(r.record, r.patient, r.file.name) for r in listing.recordings] == [
        ("r/1", "7", "1.hea"),
        ("r/2", "8", "2.hea"),
    ]
    assert listing.rows_without_file == ["r/3"] and listing.files_without_row == ["9.hea"]


def test_a_recording_with_two_different_rows_is_named_and_left_out(tmp_path):
    make_files(tmp_path, "1.hea", "2.hea")
    (tmp_path / "t.csv").write_text("record,label\n1,a\n1,b\n2,a\n2,a\n,a\n")
    listing = list_recordings(describe(table={"path": "t.csv", "record": "record"}), tmp_path)
    assert [r.record for r in listing.recordings] == ["2"]
    assert listing.faults == [
        "1 row of the table without a text in record",
        "recording 1 has 2 different rows in the table, where one was expected",
    ]


@pytest.mark.parametrize(
    "text",
    ["stay,patient,died\ns1,p1,1\ns2,p2,\n", "stay,patient,died\ns1,p1,1,\n\ns2,p2,,\n",
     "stay,patient,died\r\ns1,p1,1\r\ns2, p2,,,\r\n", 'stay,patient,died,\r"s1",p1,1,\rs2,"p2",,\r'],
)  # fmt: skip
def test_separators_at_the_ends_of_rows_do_not_shift_columns(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    table = read_cells(tmp_path / "t.csv")
    cells = table[["stay", "patient", "died"]].to_dict("list")
    assert cells == {"stay": ["s1", "s2"], "patient": ["p1", "p2"], "died": ["1", ""]}


@pytest.mark.parametrize(("row", "cells"), [("s2,p2", "2 cells"), ("s2,p2,0,9", "4 cells"), ("s2", "1 cell")])
def test_rows_of_another_width_than_the_header_are_refused(tmp_path, row, cells):
    (tmp_path / "t.csv").write_text(f'stay,patient,died\n\ns1,"a\nb",1\n{row}\n')
    with pytest.raises(DataError, match=f"t.csv: row 3 has {cells}, the header has 3: correct the row"):
        read_cells(tmp_path / "t.csv")


def test_parquet_tables_have_the_texts_of_csv_tables(tmp_path):
    make_files(tmp_path, "1.hea", "2.hea")
    pq.write_table(
        pa.table({"record": [1, 2], "age": [50.0, None], "sex": ["f", "m"]}), tmp_path / "t.parquet"
    )
    listing = list_recordings(describe(table={"path": "t.parquet", "record": "record"}), tmp_path)
    assert [(r.record, r.row["age"], r.row["sex"]) for r in listing.recordings] == [
        ("1", "50", "f"),
        ("2", "", "m"),
    ]


def test_columns_of_a_parquet_table_that_are_no_texts_do_not_hinder_the_others(tmp_path):
    columns = {"record": ["a"], "codes": [["I10"]], "pair": [{"a": 1}], "image": [b"\xff"], "age": [5]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert read_cells(tmp_path / "t.parquet").to_dict("list") == {"record": ["a"], "age": ["5"]}


def test_numbers_have_the_decimal_mark_of_the_description(tmp_path):
    pq.write_table(pa.table({"age": [50.5, 60.0], "text": ["1.0", "b"]}), tmp_path / "t.parquet")
    cells = read_cells(tmp_path / "t.parquet", decimal=",")
    assert cells.to_dict("list") == {"age": ["50,5", "60"], "text": ["1.0", "b"]}
    assert parse_number("50,5", ",") == parse_number("50.5") == 50.5
    with pytest.raises(ValueError, match="1.070 has a point"):
        parse_number("1.070", ",")


def test_splits_by_column_hold_however_whole_numbers_are_written(tmp_path):
    split = {"by": "column", "column": "fold", "val": [9], "test": ["10.0"]}
    folds = {"a": "1.0", "b": "9.0", "c": "10", "d": "10.0", "e": "9"}
    recordings = [ListedRecording(name, name, "", tmp_path, {"fold": fold}) for name, fold in folds.items()]
    splits = split_patients(describe(split=split), tmp_path, recordings)
    assert splits == {"a": "train", "b": "val", "c": "test", "d": "test", "e": "val"}


def test_ids_are_the_same_however_whole_numbers_are_written(tmp_path):
    make_files(tmp_path, "1.hea", "2.hea", "007.hea", "4.0.hea")
    (tmp_path / "t.csv").write_text(
        "record,who,ward\n1.0,1,5.0\n2,1.0,5\n2.0,1,5\n007,01,6\n4,2,6.0\n7,8,6\n"
    )
    (tmp_path / "wards.csv").write_text("ward,unit\n5,medical\n6.0,surgical\n6,surgical\n")
    join = {"wards": {"path": "wards.csv", "on": "ward"}}
    table = {"path": "t.csv", "record": "record", "patient": "who", "site": "unit", "join": join}
    listing = list_recordings(describe(table=table), tmp_path)
    assert [(r.record, r.patient, r.site, r.file.name) for r in listing.recordings] == [
        ("1", "1", "medical", "1.hea"),
        ("2", "1", "medical", "2.hea"),
        ("007", "01", "surgical", "007.hea"),
        ("4", "2", "surgical", "4.0.hea"),
    ]
    assert listing.rows_without_file == ["7"] and not listing.faults


def test_a_row_is_of_a_recording_by_all_fields_of_its_path(tmp_path):
    make_files(tmp_path, "p1/n1.hea", "p1/n2.hea", "p2/n1.hea", "p3/n1.hea")
    text = "patient,night,age\np1,n1,5\np1,n2,5\np2,n1,6\np3,n1,7\np3,n1,8\np4,n1,9\np5,,9\n"
    (tmp_path / "t.csv").write_text(text)
    table = {"path": "t.csv", "record": "{patient}-{night}", "patient": "patient"}
    description = describe(files={"format": "wfdb", "path": "{patient}/{night}.hea"}, table=table)
    listing = list_recordings(description, tmp_path)
    assert [(r.record, r.patient, r.row["age"]) for r in listing.recordings] == [
        ("p1-n1", "p1", "5"),
        ("p1-n2", "p1", "5"),
        ("p2-n1", "p2", "6"),
    ]
    assert listing.rows_without_file == ["p4/n1"]
    assert listing.faults == [
        "1 row of the table without a text in patient or night",
        "recording p3/n1 has 2 different rows in the table, where one was expected",
    ]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"files": {"format": "wfdb", "path": "*.edf"}},
            r'no file fits "\*.edf": .* has 2 files \(1 .hea, 1',
        ),
        ({"table": {"path": "u.csv"}}, "there is no .*u.csv"),
        ({"table": {"path": "t.csv", "record": "rekord"}}, 'no column "rekord": did you mean "record"'),
        ({"table": {"path": "t.csv", "record": "record", "patient": "x"}}, 'no column or field "x"'),
    ],
)
def test_what_matches_nothing_is_said_in_one_sentence(tmp_path, sections, message):
    make_files(tmp_path, "1.hea")
    (tmp_path / "t.csv").write_text("record,label\n1,a\n")
    with pytest.raises(DataError, match=message) as error:
        list_recordings(describe(**sections), tmp_path)
    assert "\n" not in str(error.value)
