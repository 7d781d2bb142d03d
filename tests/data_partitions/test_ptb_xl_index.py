"""The index of PTB-XL: labels by each rule, and patients who share a signal in one split."""

import shutil
from ast import literal_eval

import numpy as np
import pandas as pd
import pytest

from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.ptb_xl import LEADS, SUPERCLASSES, schema
from tests.helpers.ptb_xl_files import assert_refused, change_table, index, set_cells


def test_the_schema_has_all_fields_of_a_manifest_except_those_of_the_site(raw):
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
def test_unknown_options_are_refused(raw, option, sentence):
    assert_refused(lambda: index(raw, **option), sentence)


def test_the_index_has_the_records_of_the_table_with_a_superclass(raw):
    table = index(raw)
    assert list(table.columns) == ["record_id", "patient_id", "split", "site", *SUPERCLASSES, "path", "rate"]
    source = pd.read_csv(raw / "ptbxl_database.csv")
    source = source[source["scp_codes"].map(lambda codes: len(literal_eval(codes)) > 1)]  # not only a rhythm
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
    """A folder in which records 1 to 5 have known statements."""
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


def list_superclasses(table):
    """Return the superclasses of each row of an index."""
    return [[name for name in SUPERCLASSES if row[name]] for _, row in table.iterrows()]


def test_label_rules_count_statements_by_likelihood(labelled):
    assert list_superclasses(index(labelled)) == [["NORM"], ["MI", "HYP"], ["STTC"], ["MI"]]
    assert list_superclasses(index(labelled, label_rule="100")) == [["NORM"], ["HYP"], ["MI"]]


def test_single_label_includes_records_of_one_superclass_and_counts_the_excluded(labelled):
    log = PreparationLog()
    table = index(labelled, task="single-label", log=log)
    assert table["record_id"].tolist() == ["1", "3", "5"]
    assert log.notes == [
        "Excluded because they have none of the superclasses: 1 record.",
        "Excluded because they have more than one superclass: 1 record.",
    ]


DEEP = [sign * repeats for sign in ("-", "(", "{0:") for repeats in (9_000, 200_000)]


@pytest.mark.parametrize(
    "codes", ["NORM", "{'NORM'", "{'NORM': 'yes'}", "['NORM']", "__import__('os')", "", *DEEP], ids=len
)
def test_unparseable_statements_are_refused(labelled, codes):
    set_cells(labelled, 1, scp_codes=codes)
    assert_refused(lambda: index(labelled), "record 2 has scp_codes", "expected statements and likelihoods")


def test_an_unknown_statement_is_refused(labelled):
    set_cells(labelled, 1, scp_codes="{'XYZ': 100.0}")
    assert_refused(
        lambda: index(labelled), "record 2 has statement XYZ, which scp_statements.csv does not have"
    )


# --- duplicates


def copy_signal(source, record, other):
    folder = source / "records100/00000"
    shutil.copy(folder / f"{record:05d}_lr.dat", folder / f"{other:05d}_lr.dat")


def test_patients_who_share_a_signal_are_one_and_in_one_split(raw_copy):
    # Records 2 and 4 share a signal, so do 5 and 6, and 4 and 5 are of one patient: all are of one patient.
    folds = {2: 10, 4: 9, 5: 9, 6: 10}
    for record, fold in folds.items():
        set_cells(raw_copy, record - 1, patient_id={2: 30, 4: 9, 5: 9, 6: 200}[record], strat_fold=fold)
    copy_signal(raw_copy, 2, 4)
    copy_signal(raw_copy, 5, 6)
    log = PreparationLog()
    table = index(raw_copy, log=log).set_index("record_id").loc[["2", "4", "5", "6"]]
    assert set(table["patient_id"]) == {"9"}, "the smallest id of the group"
    assert set(table["split"]) == {"val"}, "val has priority over test"
    assert log.notes[0].startswith("Duplicate signals: 4 records have 2 signals")
    set_cells(raw_copy, 1, strat_fold=3)
    assert set(index(raw_copy).set_index("record_id").loc[["2", "4", "5", "6"], "split"]) == {"train"}


def test_signals_that_only_begin_alike_are_not_duplicates(raw_copy):
    folder = raw_copy / "records100/00000"
    signal = bytearray((folder / "00002_lr.dat").read_bytes())
    signal[-1] ^= 1
    (folder / "00004_lr.dat").write_bytes(signal)
    log = PreparationLog()
    index(raw_copy, log=log)
    assert not any("Duplicate signals" in note for note in log.notes)


# --- the real data set


def test_the_sample_of_ptb_xl_has_known_counts(real):
    log = PreparationLog()
    table = index(real, log=log)
    if len(table) != 378:
        pytest.skip("another part of PTB-XL than the numbers are for")
    assert table[list(SUPERCLASSES)].sum().tolist() == [229, 54, 73, 60, 27]
    assert "Excluded because they have none of the superclasses: 10 records." in log.notes
    assert any("4 records have 2 signals" in note for note in log.notes)
    pairs = table.set_index("record_id")
    for a, b in (("456", "457"), ("459", "460")):
        assert pairs.loc[a, "patient_id"] == pairs.loc[b, "patient_id"]
        assert pairs.loc[a, "split"] == pairs.loc[b, "split"]
