import shutil

import numpy as np
import pandas as pd
import pytest
import wfdb

from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.report import Report
from data_partitions.sources import ptb_xl
from data_partitions.sources.ptb_xl import LEADS, SUPERCLASSES, schema
from data_partitions.sources.ptb_xl import read_record as read


def index(source, report=None, **options):
    """The index of a source in which the first bad record is an error, unless a report is given."""
    return ptb_xl.index(source, report or Report(strict=True), **options)


def change_table(source, change):
    file = source / "ptbxl_database.csv"
    table = pd.read_csv(file)
    table = change(table)
    table.to_csv(file, index=False)


def set_cell(source, row, **cells):
    def change(table):
        table = table.astype(object)
        for name, value in cells.items():
            table.loc[row, name] = value
        return table

    change_table(source, change)


def change_header(source, record, *replacements):
    file = source / f"records100/00000/{record:05d}_lr.hea"
    text = file.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def row_of(source, record):
    table = index(source)
    return table[table["record_id"] == str(record)].iloc[0]


def refused(function, *parts):
    with pytest.raises(DataError) as error:
        function()
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence, sentence


def test_schema_is_a_manifest_but_for_the_site(raw):
    rest = {"site": "a", "windows": {"train": 1, "val": 0, "test": 0}, "made_by": "a test"}
    at_100, at_500 = (Manifest(**schema(raw, rate=rate), **rest) for rate in (100, 500))
    assert tuple(m.name for m in at_100.modalities) == LEADS
    assert at_100.shape == (12, 100, 10) and at_500.shape == (12, 100, 50)
    assert {m.unit for m in at_100.modalities} == {"mV"}
    assert at_100.labels == SUPERCLASSES
    assert "any likelihood" in at_100.label_rule
    single = schema(raw, label_rule="100", task="single-label")["label_rule"]
    assert "likelihood 100" in single and "exactly one superclass" in single


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"rate": 250}, "comes at 100 or 500 Hz, rate is 250"),
        ({"label_rule": "50"}, 'label rule "50" is unknown'),
        ({"task": "regression"}, 'task "regression" is unknown'),
    ],
)
def test_unknown_options(raw, option, sentence):
    refused(lambda: index(raw, **option), sentence)


def test_index(raw):
    table = index(raw)
    assert list(table.columns) == ["record_id", "patient_id", "split", "site", *SUPERCLASSES, "path", "rate"]
    source = pd.read_csv(raw / "ptbxl_database.csv")
    assert table["record_id"].tolist() == source["ecg_id"].astype(str).tolist()
    assert table["patient_id"].tolist() == source["patient_id"].astype(int).astype(str).tolist()
    assert set(table["site"]) <= {f"hospital-{i}" for i in range(4)}
    fold = source["strat_fold"]
    expected = np.select([fold == 9, fold == 10], ["val", "test"], "train")
    assert table["split"].tolist() == expected.tolist()
    assert set(np.unique(table[list(SUPERCLASSES)])) == {0, 1}


def test_read_agrees_with_wfdb(raw):
    row = row_of(raw, 7)
    values = read(raw, row)
    record = wfdb.rdrecord(str(raw / row["path"]))
    assert values.dtype == np.float32 and values.shape == (12, 100, 10)
    np.testing.assert_allclose(values.reshape(12, 1000), record.p_signal.T, atol=1e-6)
    assert [name.upper() for name in LEADS] == record.sig_name


def test_leads_are_taken_by_name(own_raw):
    before = read(own_raw, row_of(own_raw, 3))
    swap = [(" V1\n", " ?\n"), (" AVF\n", " V1\n"), (" ?\n", " aVF\n"), (" 0 I\n", " 0 i\n")]
    change_header(own_raw, 3, *swap)
    after = read(own_raw, row_of(own_raw, 3))
    order = [LEADS.index(name) for name in "I II III aVR aVL V1 aVF V2 V3 V4 V5 V6".split()]
    np.testing.assert_array_equal(after, before[order])


def test_gain_baseline_and_unmeasured_samples(own_raw):
    file = own_raw / "records100/00000/00003_lr.dat"
    raw_units = np.fromfile(file, "<i2").reshape(1000, 12)
    raw_units[5, 0] = -(2**15)
    raw_units.tofile(file)
    change_header(own_raw, 3, ("1000.0(0)/mV", "500.0(10)/mV"))
    values = read(own_raw, row_of(own_raw, 3)).reshape(12, 1000)
    assert np.isnan(values[0, 5]) and np.isnan(values).sum() == 1
    np.testing.assert_allclose(values[3], (raw_units[:, 3] - 10) / 500, atol=1e-6)


def test_500_hz(own_raw, tmp_path):
    units = np.arange(5000 * 12).reshape(5000, 12) % 2000
    (own_raw / "records500/00000").mkdir(parents=True)
    wfdb.wrsamp(
        "00004_hr",
        fs=500,
        units=["mV"] * 12,
        sig_name=list(LEADS),
        d_signal=units,
        fmt=["16"] * 12,
        adc_gain=[1000.0] * 12,
        baseline=[0] * 12,
        write_dir=str(own_raw / "records500/00000"),
    )
    report = Report()
    table = index(own_raw, rate=500, report=report)
    assert table["record_id"].tolist() == ["4"]
    assert report.notes == ["Left out as their signals are not there: 59 records."]
    values = read(own_raw, table.iloc[0])
    assert values.shape == (12, 100, 50)
    np.testing.assert_allclose(values[2].ravel(), units[:, 2] / 1000, atol=1e-6)


# --- labels


@pytest.fixture
def labelled(own_raw):
    """Records 1 to 5 have known statements."""
    codes = [
        "{'NORM': 100.0, 'SR': 0.0}",
        "{'IMI': 50.0, 'LVH': 100.0}",
        "{'NDT': 0.0}",
        "{'SR': 0.0}",
        "{'IMI': 100.0, 'ASMI': 15.0}",
    ]

    def change(table):
        table = table.head(5)
        return table.assign(scp_codes=codes, patient_id=[1.0, 2, 3, 4, 5])

    change_table(own_raw, change)
    return own_raw


def classes(table):
    return [[name for name in SUPERCLASSES if row[name]] for _, row in table.iterrows()]


def test_label_rules(labelled):
    assert classes(index(labelled)) == [["NORM"], ["MI", "HYP"], ["STTC"], [], ["MI"]]
    assert classes(index(labelled, label_rule="100")) == [["NORM"], ["HYP"], [], [], ["MI"]]


def test_single_label_keeps_exactly_one_superclass_and_says_how_many_go(labelled):
    report = Report()
    table = index(labelled, task="single-label", report=report)
    assert table["record_id"].tolist() == ["1", "3", "4", "5"]
    assert report.notes == ["Left out as they have more than one superclass: 1 records."]


@pytest.mark.parametrize("codes", ["NORM", "{'NORM'", "{'NORM': 'yes'}", "['NORM']", "__import__('os')", ""])
def test_unparseable_statements(labelled, codes):
    set_cell(labelled, 1, scp_codes=codes)
    refused(lambda: index(labelled), "record 2 has scp_codes", "expected statements and likelihoods")


def test_unknown_statement(labelled):
    set_cell(labelled, 1, scp_codes="{'XYZ': 100.0}")
    refused(lambda: index(labelled), "record 2 has statement XYZ, which scp_statements.csv does not have")


# --- damaged sources


def test_what_is_not_there(tmp_path, own_raw):
    refused(
        lambda: index(tmp_path), "there is no", "ptbxl_database.csv: give the folder of the unpacked PTB-XL"
    )
    (own_raw / "scp_statements.csv").unlink()
    refused(lambda: index(own_raw), "there is no", "scp_statements.csv")
    shutil.rmtree(own_raw / "records100")
    refused(lambda: index(own_raw), "records100 has no record of ptbxl_database.csv")


@pytest.mark.parametrize("column", ["ecg_id", "patient_id", "site", "scp_codes", "strat_fold", "filename_lr"])
def test_a_missing_column_is_named(own_raw, column):
    change_table(own_raw, lambda table: table.drop(columns=column))
    refused(lambda: index(own_raw), "ptbxl_database.csv lacks the column " + column)


@pytest.mark.parametrize("column", ["diagnostic", "diagnostic_class"])
def test_a_missing_column_of_the_statements_is_named(own_raw, column):
    file = own_raw / "scp_statements.csv"
    pd.read_csv(file, index_col=0).drop(columns=column).to_csv(file)
    refused(lambda: index(own_raw), "scp_statements.csv lacks the column " + column)


def test_damaged_rows(own_raw):
    set_cell(own_raw, 2, strat_fold=11)
    refused(lambda: index(own_raw), 'record 3 has strat_fold "11": expected 1 to 10')
    set_cell(own_raw, 2, strat_fold=1, patient_id=None)
    refused(lambda: index(own_raw), "record 3 has no patient_id")
    set_cell(own_raw, 2, ecg_id=2, patient_id=5)
    refused(lambda: index(own_raw), "ecg_id 2 is there twice")


def test_a_patient_in_two_splits(own_raw):
    set_cell(own_raw, [3, 4], patient_id=77, strat_fold=1)
    set_cell(own_raw, 4, strat_fold=9)
    refused(lambda: index(own_raw), "patient 77 (record 4) is in two splits by strat_fold")


def test_a_csv_that_is_none(own_raw):
    (own_raw / "ptbxl_database.csv").write_text('a,b\n1,2,3\n"4,5')
    refused(lambda: index(own_raw), "ptbxl_database.csv is not a readable csv")


def test_records_without_signals_are_left_out_and_counted(own_raw):
    for record in (2, 5):
        (own_raw / f"records100/00000/{record:05d}_lr.hea").unlink()
    report = Report()
    table = index(own_raw, report=report)
    assert len(table) == 58 and not {"2", "5"} & set(table["record_id"])
    assert report.notes == ["Left out as their signals are not there: 2 records."]


def test_a_header_without_signal(own_raw):
    (own_raw / "records100/00000/00002_lr.dat").unlink()
    refused(lambda: index(own_raw), "record 2 has a header but no signal", "00002_lr.dat is missing")


@pytest.mark.parametrize("size", [0, 12000, 23999, 24002])
def test_a_signal_of_another_length(own_raw, size):
    file = own_raw / "records100/00000/00002_lr.dat"
    file.write_bytes((file.read_bytes() * 2)[:size])
    expected = "its signal has", "expected 24000: fetch the file anew"
    refused(lambda: read(own_raw, row_of(own_raw, 2)), "record 2 ", *expected)


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
        (("00002_lr 12 100 1000", "what is this"), "is not a readable header"),
        (("00002_lr 12 100 1000", "00002_lr 13 100 1000"), "announces 13 signals and describes 12"),
        (("1000.0(0)/mV", "many/mV"), "does not describe a signal"),
    ],
)
def test_a_header_that_disagrees(own_raw, replacement, sentence):
    change_header(own_raw, 2, replacement)
    refused(lambda: read(own_raw, row_of(own_raw, 2)), "record 2", "00002_lr", sentence)


def test_an_empty_header(own_raw):
    (own_raw / "records100/00000/00002_lr.hea").write_text("")
    refused(lambda: read(own_raw, row_of(own_raw, 2)), "record 2", "is not a readable header")


def test_bad_records_are_left_out_with_their_reasons_and_the_others_go_on(own_raw):
    set_cell(own_raw, 1, scp_codes="NORM")
    set_cell(own_raw, 2, strat_fold=11)
    (own_raw / "records100/00000/00004_lr.dat").unlink()
    (own_raw / "records100/00000/00005_lr.dat").write_bytes(b"too short")
    report = Report()
    table = index(own_raw, report)
    assert set(range(1, 61)) - set(table["record_id"].astype(int)) == {2, 3, 4}
    windows = list(ptb_xl.read(own_raw, table, report))
    assert [record for record, w in zip(table["record_id"], windows, strict=True) if w is None] == ["5"]
    np.testing.assert_array_equal(windows[0], read(own_raw, table.iloc[0]))
    reasons = ["record 2 has scp_codes", 'record 3 has strat_fold "11"', "record 4 has a header but no"]
    reasons.append("record 5 ")
    assert len(report.bad) == 4
    assert all(bad.startswith(reason) for bad, reason in zip(report.bad, reasons, strict=True))


# --- duplicates


def copy_signal(source, record, other):
    folder = source / "records100/00000"
    shutil.copy(folder / f"{record:05d}_lr.dat", folder / f"{other:05d}_lr.dat")


def test_patients_who_share_a_signal_are_one_and_in_one_split(own_raw):
    # 2 - 4 and 4' - 6 are the same signals, and 4 and 4' (record 5) the same patient: three patients are one.
    folds = {2: 10, 4: 9, 5: 9, 6: 10}
    for record, fold in folds.items():
        set_cell(own_raw, record - 1, patient_id={2: 30, 4: 9, 5: 9, 6: 200}[record], strat_fold=fold)
    copy_signal(own_raw, 2, 4)
    copy_signal(own_raw, 5, 6)
    report = Report()
    table = index(own_raw, report=report).set_index("record_id").loc[["2", "4", "5", "6"]]
    assert set(table["patient_id"]) == {"9"}, "the group's smallest number"
    assert set(table["split"]) == {"val"}, "val before test"
    assert report.notes[0].startswith("Duplicate signals: 4 records have 2 signals")
    set_cell(own_raw, 1, strat_fold=3)
    assert set(index(own_raw).set_index("record_id").loc[["2", "4", "5", "6"], "split"]) == {"train"}


def test_signals_that_only_begin_alike_are_not_duplicates(own_raw):
    folder = own_raw / "records100/00000"
    signal = bytearray((folder / "00002_lr.dat").read_bytes())
    signal[-1] ^= 1
    (folder / "00004_lr.dat").write_bytes(signal)
    report = Report()
    index(own_raw, report=report)
    assert report.notes == []


# --- PTB-XL itself


def test_the_sample_of_ptb_xl(real):
    report = Report()
    table = index(real, report=report)
    if len(table) != 388:
        pytest.skip("another part of PTB-XL than the numbers are for")
    assert table["patient_id"].nunique() == 358
    assert table[list(SUPERCLASSES)].sum().tolist() == [229, 54, 73, 60, 27]
    assert int((table[list(SUPERCLASSES)].sum(axis=1) == 0).sum()) == 10
    assert any("4 records have 2 signals" in note for note in report.notes)
    pairs = table.set_index("record_id")
    for a, b in (("456", "457"), ("459", "460")):
        assert pairs.loc[a, "patient_id"] == pairs.loc[b, "patient_id"]
        assert pairs.loc[a, "split"] == pairs.loc[b, "split"]


def test_leads_of_ptb_xl(real):
    for _, row in index(real).head(10).iterrows():
        i, ii, iii, avr, avl, avf, *chest = read(real, row)
        tolerance = 0.0025  # each is rounded to 0.001 mV
        assert np.abs(iii - (ii - i)).max() < tolerance
        assert np.abs(avr + (i + ii) / 2).max() < tolerance
        assert np.abs(avl - (i - ii / 2)).max() < tolerance
        assert np.abs(avf - (ii - i / 2)).max() < tolerance
        assert 0.05 < np.std(chest) < 2, "mV"
