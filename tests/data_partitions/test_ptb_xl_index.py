"""The index of PTB-XL: labels by each rule, and patients who share a signal in one split."""

import shutil

import numpy as np
import pandas as pd
import pytest

from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.ptb_xl import LEADS, SUPERCLASSES, schema
from tests.helpers.ptb_xl_files import change_table, index, refused, set_cell


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
        ({"rate": 250}, "has records at 100 or 500 Hz, but rate is 250"),
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


# --- labels


@pytest.fixture
def labelled(raw_copy):
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

    change_table(raw_copy, change)
    return raw_copy


def classes(table):
    return [[name for name in SUPERCLASSES if row[name]] for _, row in table.iterrows()]


def test_label_rules(labelled):
    assert classes(index(labelled)) == [["NORM"], ["MI", "HYP"], ["STTC"], [], ["MI"]]
    assert classes(index(labelled, label_rule="100")) == [["NORM"], ["HYP"], [], [], ["MI"]]


def test_single_label_keeps_exactly_one_superclass_and_says_how_many_go(labelled):
    log = PreparationLog()
    table = index(labelled, task="single-label", log=log)
    assert table["record_id"].tolist() == ["1", "3", "4", "5"]
    assert log.notes == ["Excluded because they have more than one superclass: 1 records."]


@pytest.mark.parametrize("codes", ["NORM", "{'NORM'", "{'NORM': 'yes'}", "['NORM']", "__import__('os')", ""])
def test_unparseable_statements(labelled, codes):
    set_cell(labelled, 1, scp_codes=codes)
    refused(lambda: index(labelled), "record 2 has scp_codes", "expected statements and likelihoods")


def test_unknown_statement(labelled):
    set_cell(labelled, 1, scp_codes="{'XYZ': 100.0}")
    refused(lambda: index(labelled), "record 2 has statement XYZ, which scp_statements.csv does not have")


# --- duplicates


def copy_signal(source, record, other):
    folder = source / "records100/00000"
    shutil.copy(folder / f"{record:05d}_lr.dat", folder / f"{other:05d}_lr.dat")


def test_patients_who_share_a_signal_are_one_and_in_one_split(raw_copy):
    # 2 - 4 and 4' - 6 are the same signals, and 4 and 4' (record 5) the same patient: three patients are one.
    folds = {2: 10, 4: 9, 5: 9, 6: 10}
    for record, fold in folds.items():
        set_cell(raw_copy, record - 1, patient_id={2: 30, 4: 9, 5: 9, 6: 200}[record], strat_fold=fold)
    copy_signal(raw_copy, 2, 4)
    copy_signal(raw_copy, 5, 6)
    log = PreparationLog()
    table = index(raw_copy, log=log).set_index("record_id").loc[["2", "4", "5", "6"]]
    assert set(table["patient_id"]) == {"9"}, "the group's smallest number"
    assert set(table["split"]) == {"val"}, "val before test"
    assert log.notes[0].startswith("Duplicate signals: 4 records have 2 signals")
    set_cell(raw_copy, 1, strat_fold=3)
    assert set(index(raw_copy).set_index("record_id").loc[["2", "4", "5", "6"], "split"]) == {"train"}


def test_signals_that_only_begin_alike_are_not_duplicates(raw_copy):
    folder = raw_copy / "records100/00000"
    signal = bytearray((folder / "00002_lr.dat").read_bytes())
    signal[-1] ^= 1
    (folder / "00004_lr.dat").write_bytes(signal)
    log = PreparationLog()
    index(raw_copy, log=log)
    assert log.notes == []


# --- PTB-XL itself


def test_the_sample_of_ptb_xl(real):
    log = PreparationLog()
    table = index(real, log=log)
    if len(table) != 388:
        pytest.skip("another part of PTB-XL than the numbers are for")
    assert table["patient_id"].nunique() == 358
    assert table[list(SUPERCLASSES)].sum().tolist() == [229, 54, 73, 60, 27]
    assert int((table[list(SUPERCLASSES)].sum(axis=1) == 0).sum()) == 10
    assert any("4 records have 2 signals" in note for note in log.notes)
    pairs = table.set_index("record_id")
    for a, b in (("456", "457"), ("459", "460")):
        assert pairs.loc[a, "patient_id"] == pairs.loc[b, "patient_id"]
        assert pairs.loc[a, "split"] == pairs.loc[b, "split"]
