"""Stays in tables over time: their start and end, rows of joined tables, and properties from the files."""

import re
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_partitions import DataError
from data_partitions.description.sections import Description
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.reader import DescribedDataset
from data_partitions.sources.described.stays import list_stays

STAYS = """stay,patient,ward,in,out,seen,died
a,p1,1,2024-03-01 10:00,2024-03-01 20:00,2024-03-01 12:00,1
b,p1,2,2024-03-02 10:00,2024-03-02 13:30,,0
c,p2,3,2024-03-03 10:00,2024-03-03 16:00,2024-03-03 11:00,0
d,p3,1,2024-03-04 10:00,,,0
"""
WARDS = "ward,unit\n1,medical\n2,surgical\n3,medical\n"


def describe(**sections):
    fields = {
        "dataset": {"name": "ward"},
        "files": {
            "format": "csv",
            "path": "monitor.csv",
            "record": "id",
            "time": "time",
            "time-unit": "datetime",
        },
        "table": {"path": "stays.csv", "record": "stay", "patient": "patient", "start": "in", "end": "out"},
        "window": {"length": "4 h", "grid": "1 h", "take": "all"},
        "signals": {"HR": {"unit": "bpm"}},
        "task": {"kind": "binary", "column": "died"},
    }
    for name, changes in sections.items():
        fields[name] = {**fields.get(name, {}), **changes}
    return Description.model_validate(fields)


@pytest.fixture
def source(tmp_path):
    """Hours since 10:00 on the day of the stay are the heart rates of stays a to d."""
    rows = [
        f"{stay},2024-03-0{day} {10 + hour}:00,{hour}"
        for day, stay in enumerate("abcd", start=1)
        for hour in range(0, 10 if stay == "a" else 4)
    ]
    (tmp_path / "monitor.csv").write_text("\n".join(["id,time,HR", *rows]) + "\n")
    (tmp_path / "stays.csv").write_text(STAYS)
    (tmp_path / "wards.csv").write_text(WARDS)
    return tmp_path


def read(description, source, log=None):
    """Return the index and the heart rates of its windows by record."""
    reader, log = DescribedDataset(description), log or PreparationLog(strict=True)
    rows = reader.index(source, log)
    windows = dict(zip(rows["record_id"], reader.read(source, rows, log), strict=True))
    return rows, {name: window.reshape(-1).tolist() for name, window in windows.items() if window is not None}


def test_windows_are_counted_from_the_start_to_the_end_of_the_table(source):
    rows, windows = read(describe(), source)
    assert rows["record_id"].tolist() == ["a-0000", "a-0001", "c-0000"], "b has 3.5 h, and d no end"
    assert windows["a-0001"] == [4, 5, 6, 7] and windows["c-0000"] == [0, 1, 2, 3]
    assert rows["event"].tolist() == [1, 1, 0] and rows["patient_id"].tolist() == ["p1", "p1", "p2"]


def test_windows_overlap_by_their_stride(source):
    _, windows = read(describe(window={"stride": "2 h"}), source)
    assert [windows[f"a-000{i}"][0] for i in range(4)] == [0, 2, 4, 6]


def test_windows_start_at_a_column_and_stays_without_it_are_rejected(source):
    log = PreparationLog()
    _, windows = read(describe(window={"start": "seen"}), source, log)
    assert [windows["a-0000"], windows["a-0001"], windows["c-0000"][:3]] == [
        [2, 3, 4, 5],
        [6, 7, 8, 9],
        [1, 2, 3],
    ]
    assert log.rejected == [f"recording {name} has no start: seen has no time" for name in "bd"]


def test_without_a_table_stays_last_from_their_first_to_their_last_row(source):
    rows, windows = read(describe(table=dict.fromkeys(("path", "record", "patient", "start", "end"), ""),
                                  task={"kind": "none", "column": ""}), source)  # fmt: skip
    assert rows["record_id"].tolist() == ["a-0000", "a-0001", "b-0000", "c-0000", "d-0000"]
    assert windows["d-0000"] == [0, 1, 2, 3]


def test_stays_that_end_before_the_outcome_may_be_known_are_left_out_and_counted(source):
    log = PreparationLog(strict=True)
    rows, _ = read(describe(window={"take": "first"}, task={"after": "5 h"}), source, log)
    assert rows["record_id"].tolist() == ["a", "c"]
    assert log.counted() == [
        "1 recording of less than 5 h is left out.",
        "1 recording is left out, as the end is not stated.",
    ]


def test_a_label_is_the_time_until_the_end(source):
    task = {"kind": "regression", "column": "", "until": "end", "unit": "h", "name": "rest"}
    rows, _ = read(describe(task=task), source)
    assert rows.set_index("record_id")["rest"].to_dict() == {"a-0000": 6, "a-0001": 2, "c-0000": 2}


def test_elapsed_times_with_starts_and_ends_as_time_stamps_or_numbers(source):
    text = (source / "monitor.csv").read_text().splitlines()
    rows = [line.replace(line.split(",")[1], line.split(",")[2]) for line in text[1:]]
    (source / "monitor.csv").write_text("\n".join([text[0], *rows]) + "\n")
    rows, windows = read(
        describe(files={"time-unit": "h"}, window={"start": "seen"}), source, PreparationLog()
    )
    assert windows["a-0000"] == [2, 3, 4, 5]
    (source / "stays.csv").write_text("stay,patient,minutes,died\na,p1,600,1\nc,p2,300,0\n")
    rows, windows = read(
        describe(files={"time-unit": "h"}, table={"start": "", "end": "minutes", "time-unit": "min"}), source
    )
    assert rows["record_id"].tolist() == ["a-0000", "a-0001", "c-0000"]


def test_a_time_zone_in_the_table_alone_is_refused(source):
    (source / "stays.csv").write_text(re.sub(r"(\d\d:\d\d),", r"\1+01:00,", STAYS))
    with pytest.raises(DataError, match="times of stays.csv have a time zone and those of .*csv have none"):
        read(describe(), source)


def test_stays_match_their_rows_however_ids_are_written(tmp_path):
    times = pa.array([datetime(2024, 3, 1, hour) for hour in (10, 11)] * 2)
    ids = pa.array([Decimal(number) for number in (1, 1, 2, 2)], pa.decimal128(10, 2))
    pq.write_table(pa.table({"id": ids, "time": times, "HR": [1.0, 2, 3, 4]}), tmp_path / "m.parquet")
    (tmp_path / "stays.csv").write_text(
        "stay,patient,in,died\n1.0,7,2024-03-01 10:00,1\n2,7.0,2024-03-01 10:00,0\n"
    )
    files = {"format": "parquet", "path": "m.parquet"}
    description = describe(files=files, table={"end": ""}, window={"length": "2 h", "take": "first"})
    rows, windows = read(description, tmp_path)
    assert windows == {"1": [1, 2], "2": [3, 4]} and rows["patient_id"].tolist() == ["7", "7"]


def test_of_several_files_of_a_stay_the_first_is_read_and_the_stay_is_named(tmp_path):
    for ward, rate in (("A", 1), ("B", 5)):
        for stay in ("s1", "s2")[: 2 if ward == "A" else 1]:
            (tmp_path / ward).mkdir(exist_ok=True)
            (tmp_path / ward / f"{stay}.csv").write_text(f"time,HR\n0,{rate}\n1,{rate}\n")
    files = {"path": "**/{record}.csv", "record": "", "time-unit": "h"}
    table = {"path": "", "record": "", "patient": "", "start": "", "end": ""}
    window = {"length": "2 h", "take": "first"}
    log = PreparationLog()
    _, windows = read(
        describe(files=files, table=table, window=window, task={"kind": "none", "column": ""}), tmp_path, log
    )
    assert windows == {"s1": [1, 1], "s2": [1, 1]}
    first, second = (f'"{tmp_path / ward / "s1.csv"}"' for ward in "AB")
    assert log.rejected == [f"recording s1 has 2 files, of which only the first is read: {first}, {second}"]


def test_files_of_which_none_can_be_read_are_refused_with_the_reason(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("")
    files = {"path": "{record}.csv", "record": ""}
    table = {"path": "", "record": "", "patient": "", "start": "", "end": ""}
    sentence = (
        "no file of .* can be read; the first of 2 rejected records: .*a.csv cannot be read: it has no header"
    )
    with pytest.raises(DataError, match=sentence):
        read(
            describe(files=files, table=table, task={"kind": "none", "column": ""}),
            tmp_path,
            PreparationLog(),
        )


def test_tables_are_joined_and_texts_of_sites_have_names(source):
    join = {"wards": {"path": "wards.csv", "on": "ward"}}
    table = {"join": join, "site": "unit", "sites": {"internal": ["medical"], "or": ["surgical"]}}
    rows, _ = read(describe(table=table, window={"take": "first"}), source)
    assert rows["site"].tolist() == ["internal", "or", "internal", "internal"]
    log = PreparationLog()
    rows, _ = read(
        describe(table={**table, "sites": {"internal": ["medical"]}}, window={"take": "first"}), source, log
    )
    assert rows["record_id"].tolist() == ["a", "c", "d"]
    assert log.rejected == ["recording b has unit surgical, expected medical"]


@pytest.mark.parametrize(
    ("join", "sentence"),
    [
        ({"path": "ward.csv", "on": "ward"}, "table.join.wards.path: there is no"),
        ({"path": "wards.csv", "on": "wards"}, 'there is no column "wards": did you mean "ward"?'),
        ({"path": "wards.csv", "on": "ward", "key": "unit"}, "no ward of the table is a unit of wards.csv"),
        ({"path": "twice.csv", "on": "ward"}, "has different rows of ward 1, where one was expected"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(source, join, sentence):
    (source / "twice.csv").write_text(WARDS + "1,other\n")
    with pytest.raises(DataError, match="") as error:
        read(describe(table={"join": {"wards": join}}), source)
    assert sentence in str(error.value)


def test_columns_that_differ_between_joined_tables_are_named(source):
    (source / "names.csv").write_text("ward,died,unit\n1,perhaps,a\n")
    description = describe(table={"join": {"names": {"path": "names.csv", "on": "ward"}}})
    sentence = (
        'names.csv and the tables before it have different texts in the column "died": those of the first '
        "table count"
    )
    assert list_stays(description, source, PreparationLog()).listing.clashes == [sentence]
    log = PreparationLog()
    read(description, source, log)
    assert f"{sentence}." in log.notes


def test_properties_of_files_in_long_form_are_columns(tmp_path):
    (tmp_path / "stays.csv").write_text("stay,died\na,1\nb,0\nz,0\n")
    for name, ward in {"a": "1.0", "b": "2", "c": "1"}.items():
        rows = f"0,ward,{ward}\n1,HR,80\n0,ward,9\n2,HR,90\n"
        (tmp_path / f"{name}.txt").write_text("time,name,value\n" + rows)
    description = describe(
        files={"path": "{record}.txt", "record": "", "time-unit": "h", "variable": "name", "value": "value"},
        table={"patient": "", "start": "", "end": "", "properties": ["ward"], "site": "ward",
               "sites": {"north": ["1"], "south": ["2"]}},
        window={"take": "first"},
    )  # fmt: skip
    log = PreparationLog(strict=True)
    rows, windows = read(description, tmp_path, log)
    assert rows["site"].tolist() == ["north", "south"]
    assert np.nan_to_num(windows["a"]).tolist() == [0, 80, 90, 0]
    assert log.notes[:2] == [
        'Rows that are left out, as they have no file (1): "z".',
        'Files that are left out, as the table has no row of them (1): "c".',
    ]


def test_a_table_of_other_recordings_is_refused(source):
    (source / "stays.csv").write_text(
        STAYS.replace("stay", "x").replace("x,", "stay,").replace("\na,", "\nA1,")
    )
    table = {"record": "stay", "start": "", "end": ""}
    read(describe(table=table), source, PreparationLog())
    (source / "stays.csv").write_text("stay,patient,died\nA1,p,0\n")
    with pytest.raises(DataError, match='rows are of "A1", and files have "a", "b", "c" and 1 more'):
        read(describe(table=table), source)
