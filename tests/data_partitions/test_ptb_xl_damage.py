"""Errors name damaged and missing files of PTB-XL in one sentence, and other records remain usable."""

import shutil

import numpy as np
import pandas as pd
import pytest

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import ptb_xl
from data_partitions.sources.ptb_xl import read_record as read
from tests.helpers.ptb_xl_files import (
    assert_refused,
    change_header,
    change_table,
    index,
    row_of,
    set_cells,
)


def test_missing_files_are_named(tmp_path, raw_copy):
    assert_refused(
        lambda: index(tmp_path), "there is no", "ptbxl_database.csv: give the folder of the unpacked PTB-XL"
    )
    (raw_copy / "scp_statements.csv").unlink()
    assert_refused(lambda: index(raw_copy), "there is no", "scp_statements.csv")
    shutil.rmtree(raw_copy / "records100")
    assert_refused(lambda: index(raw_copy), "records100 has no record of ptbxl_database.csv")


@pytest.mark.parametrize("column", ["ecg_id", "patient_id", "site", "scp_codes", "strat_fold", "filename_lr"])
def test_a_missing_column_is_named(raw_copy, column):
    change_table(raw_copy, lambda table: table.drop(columns=column))
    assert_refused(lambda: index(raw_copy), "ptbxl_database.csv has no column " + column)


@pytest.mark.parametrize("column", ["diagnostic", "diagnostic_class"])
def test_a_missing_column_of_the_statements_is_named(raw_copy, column):
    file = raw_copy / "scp_statements.csv"
    pd.read_csv(file, index_col=0).drop(columns=column).to_csv(file)
    assert_refused(lambda: index(raw_copy), "scp_statements.csv has no column " + column)


def test_damaged_rows_are_named(raw_copy):
    set_cells(raw_copy, 2, strat_fold=11)
    assert_refused(lambda: index(raw_copy), 'record 3 has strat_fold "11": expected 1 to 10')
    set_cells(raw_copy, 2, strat_fold=1, patient_id=None)
    assert_refused(lambda: index(raw_copy), "record 3 has no patient_id")
    set_cells(raw_copy, 2, ecg_id=2, patient_id=5)
    assert_refused(lambda: index(raw_copy), "ecg_id 2 appears twice")


def test_a_patient_in_two_splits_is_refused(raw_copy):
    set_cells(raw_copy, [3, 4], patient_id=77, strat_fold=1)
    set_cells(raw_copy, 4, strat_fold=9)
    assert_refused(lambda: index(raw_copy), "patient 77 (record 4) is in two splits by strat_fold")


def test_an_unreadable_csv_is_refused(raw_copy):
    (raw_copy / "ptbxl_database.csv").write_text('a,b\n1,2,3\n"4,5')
    assert_refused(lambda: index(raw_copy), "ptbxl_database.csv is not a readable csv")


def test_records_without_signals_are_excluded_and_counted(raw_copy):
    for record in (2, 5):
        (raw_copy / f"records100/00000/{record:05d}_lr.hea").unlink()
    log = PreparationLog()
    table = index(raw_copy, log=log)
    assert len(table) == 56 and not {"2", "5"} & set(table["record_id"])
    assert log.notes == [
        "Excluded because their signals are missing: 2 records.",
        "Excluded because they have none of the superclasses: 2 records.",
    ]


def test_a_header_without_a_signal_is_refused(raw_copy):
    (raw_copy / "records100/00000/00002_lr.dat").unlink()
    assert_refused(lambda: index(raw_copy), "record 2 has a header but no signal", "00002_lr.dat is missing")


@pytest.mark.parametrize("size", [0, 12000, 23999, 24002])
def test_a_signal_of_the_wrong_length_is_refused(raw_copy, size):
    file = raw_copy / "records100/00000/00002_lr.dat"
    file.write_bytes((file.read_bytes() * 2)[:size])
    expected = "its signal has", "expected 24000: fetch the file again"
    assert_refused(lambda: read(raw_copy, row_of(raw_copy, 2)), "record 2 ", *expected)


@pytest.mark.parametrize(
    ("replacement", "sentence"),
    [
        ((" 12 100 1000", " 12 500 1000"), "its header says 500 Hz, expected 100"),
        ((" 12 100 1000", " 12 100 5000"), "its header says 5000 samples, expected 1000"),
        ((" V6\n", " V7\n"), "V7, expected I, II, III, aVR"),
        ((" V6\n", " V5\n"), "its leads are"),
        (("/mV", "/uV"), "its units are uV, expected mV"),
        (("00002_lr.dat", "00003_lr.dat"), "another signal than 16-bit samples in 00002_lr.dat"),
        ((".dat 16 ", ".dat 212 "), "another signal than 16-bit samples"),
        (("00002_lr 12 100 1000", "what is this"), "is not a readable WFDB header"),
        (
            ("00002_lr 12 100 1000", "00002_lr 13 100 1000"),
            "gives 13 as the number of signals, but the others describe 12",
        ),
        (("1000.0(0)/mV", "many/mV"), "does not describe a signal"),
    ],
)
def test_a_header_that_disagrees_with_the_index_is_refused(raw_copy, replacement, sentence):
    change_header(raw_copy, 2, replacement)
    assert_refused(lambda: read(raw_copy, row_of(raw_copy, 2)), "record 2", "00002_lr", sentence)


def test_an_empty_header_is_refused(raw_copy):
    (raw_copy / "records100/00000/00002_lr.hea").write_text("")
    assert_refused(lambda: read(raw_copy, row_of(raw_copy, 2)), "record 2", "is not a readable WFDB header")


def test_unusable_records_are_excluded_with_reasons_and_the_others_are_read(raw_copy):
    set_cells(raw_copy, 1, scp_codes="NORM")
    set_cells(raw_copy, 2, strat_fold=11)
    (raw_copy / "records100/00000/00004_lr.dat").unlink()
    (raw_copy / "records100/00000/00005_lr.dat").write_bytes(b"too short")
    log = PreparationLog()
    table = index(raw_copy, log)
    without_superclass = {44, 45}
    assert set(range(1, 61)) - set(table["record_id"].astype(int)) == {2, 3, 4} | without_superclass
    windows = list(ptb_xl.read(raw_copy, table, log))
    assert [record for record, w in zip(table["record_id"], windows, strict=True) if w is None] == ["5"]
    np.testing.assert_array_equal(windows[0], read(raw_copy, table.iloc[0]))
    reasons = ["record 2 has scp_codes", 'record 3 has strat_fold "11"', "record 4 has a header but no"]
    reasons.append("record 5 ")
    assert len(log.rejected) == 4
    assert all(sentence.startswith(reason) for sentence, reason in zip(log.rejected, reasons, strict=True))
