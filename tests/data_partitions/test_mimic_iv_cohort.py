"""The cohort of MIMIC-IV and its index: patient, split, site and label."""

import numpy as np
import pandas as pd
import pytest

from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv import index, schema
from data_partitions.sources.mimic_iv.dataset import BUCKETS
from data_partitions.splits import hash_splits
from tests.helpers.generated_mimic_iv import make_tables, write_tables
from tests.helpers.mimic_iv_stays import add_events, make_empty_tables, prepare


def make_cohort_tables():
    """Make nine stays: some in the cohort, and one or more that each rule removes."""
    tables = add_events(make_empty_tables(9), *[("chart", n, 60, 220045, 80) for n in range(8)])
    stays, admissions, patients = tables["icustays"], tables["admissions"], tables["patients"]
    admissions["hospital_expire_flag"] = [1, 1, 0, 0, 1, 0, 0, 0, 1]
    stays["outtime"] = stays["intime"] + pd.Timedelta(hours=48)
    stays.loc[1, "outtime"] -= pd.Timedelta(seconds=1)  # too short
    stays.loc[2, "outtime"] = pd.NaT  # without an end
    stays.loc[2, "los"] = np.nan
    patients["anchor_year"] = admissions["admittime"].dt.year - 5
    patients["anchor_age"] = 60
    patients.loc[3, "anchor_age"] = 12  # 17 at admission
    patients.loc[0, "anchor_age"] = 13  # 18 at admission
    for key in ("subject_id", "hadm_id"):  # 4 and 5 in one admission, which ends in death
        stays.loc[5, key] = stays.loc[4, key]
    stays.loc[6, "last_careunit"] = "another"
    tables["admissions"], tables["patients"] = admissions.drop(5), patients.drop(5)
    return tables


def test_an_unusable_stay_counts_among_the_stays_of_its_admission(tmp_path):
    tables = make_cohort_tables()
    tables["icustays"].loc[5, "intime"] = pd.NaT
    write_tables(tmp_path, tables)
    log = PreparationLog()
    table = index(tmp_path, log)
    assert len(log.rejected) == 1
    assert not set(tables["icustays"]["stay_id"][4:6].astype(str)) & set(table["record_id"])
    assert "1 of admissions with more than one ICU stay removed" in log.notes[0]


def test_rules_apply_in_order_and_notes_count_the_removed_stays(tmp_path):
    write_tables(tmp_path, make_cohort_tables())
    table, windows, log = prepare(tmp_path)
    assert log.rejected == []
    assert log.notes == [
        "9 ICU stays of 8 patients; "
        "2 shorter than 48 h or without a known end removed, leaving 7 (4 died in hospital); "
        "1 of patients under 18 removed, leaving 6 (4 died in hospital); "
        "2 of admissions with more than one ICU stay removed, leaving 4 (2 died in hospital); "
        "1 with a transfer between units removed, leaving 3 (2 died in hospital).",
        "Removed because nothing was measured in their first 48 h: 1 of 3 ICU stays, "
        "leaving 2 (1 died in hospital).",
    ]
    assert table["record_id"].tolist() == ["30000000", "30000007", "30000008"]
    assert [window is None for window in windows] == [False, False, True]


def test_a_short_stay_counts_among_the_stays_of_its_admission(tmp_path):
    tables = make_empty_tables(2)
    stays = tables["icustays"]
    stays.loc[1, ["subject_id", "hadm_id"]] = stays.loc[0, ["subject_id", "hadm_id"]]
    stays.loc[1, "outtime"] = stays.loc[1, "intime"] + pd.Timedelta(hours=1)
    assert len(index(write_tables(tmp_path, tables), PreparationLog())) == 0


def test_the_index_has_text_ids_splits_by_patient_and_units_as_sites(tmp_path):
    tables = make_tables(60)
    stays = tables["icustays"]
    stays.loc[1, "subject_id"] = stays.loc[0, "subject_id"]  # a second admission of the first patient
    tables["admissions"].loc[1, "subject_id"] = stays.loc[0, "subject_id"]
    tables["patients"] = tables["patients"].drop(1)
    tables["patients"].loc[0, ["anchor_age", "anchor_year"]] = [50, 2150]
    units = ["Medical Intensive Care Unit (MICU)", "Medical/Surgical Intensive Care Unit (MICU/SICU)"]
    units += ["Neuro Surgical Intensive Care Unit (Neuro SICU)", "Neuro Stepdown", "Trauma SICU (TSICU)"]
    stays.loc[:4, "first_careunit"] = stays.loc[:4, "last_careunit"] = units
    table = index(write_tables(tmp_path, tables), PreparationLog())
    assert table["site"][:5].tolist() == ["micu", "micu-sicu", "neuro-sicu", "neuro-stepdown", "tsicu"]
    assert table["patient_id"][:3].tolist() == ["10000000", "10000000", "10000002"]
    assert table["record_id"][:3].tolist() == ["30000000", "30000001", "30000002"]
    assert table["patient_id"].nunique() == 59
    assert dict(zip(table["patient_id"], table["split"], strict=True)) == hash_splits(
        "mimic-iv", table["patient_id"]
    )
    died = tables["admissions"]["hospital_expire_flag"].tolist()
    assert table["died"].tolist() == died
    assert table["survived"].tolist() == [1 - x for x in died]


@pytest.mark.parametrize(
    ("remaining", "bucket"),
    [
        (0, "under 1 day"),
        (86399, "under 1 day"),
        (86400, "1-2 days"),
        (2 * 86400 - 1, "1-2 days"),
        (2 * 86400, "2-3 days"),
        (3.5 * 86400, "3-4 days"),
        (4.5 * 86400, "4-5 days"),
        (5.5 * 86400, "5-6 days"),
        (6.5 * 86400, "6-7 days"),
        (7 * 86400, "7-8 days"),
        (8 * 86400 - 1, "7-8 days"),
        (8 * 86400, "8-14 days"),
        (14 * 86400 - 1, "8-14 days"),
        (14 * 86400, "over 14 days"),
        (99 * 86400, "over 14 days"),
    ],
)
def test_length_of_stay_is_the_remaining_time_after_hour_48(tmp_path, remaining, bucket):
    tables = make_empty_tables()
    tables["icustays"]["outtime"] = tables["icustays"]["intime"] + pd.Timedelta(hours=48, seconds=remaining)
    table = index(write_tables(tmp_path, tables), PreparationLog(), task="length-of-stay")
    assert [name for name in BUCKETS if table[name][0] == 1] == [bucket]
    days = index(tmp_path, PreparationLog(), task="remaining-days")
    assert days["remaining stay"][0] == pytest.approx(remaining / 86400, abs=1e-9)
    assert "under 1 day" not in days


def test_outcomes_that_a_table_has_as_decimals_are_read(tmp_path):
    tables = make_empty_tables(stays=3)
    tables["admissions"]["hospital_expire_flag"] = ["0.0", "1.0", "1"]
    assert index(write_tables(tmp_path, tables), PreparationLog())["died"].tolist() == [0, 1, 1]


def test_age_and_sex_are_covariates(tmp_path):
    tables = make_empty_tables(stays=3)
    tables["patients"]["gender"] = ["F", "M", ""]
    table = index(write_tables(tmp_path, tables), PreparationLog())
    assert table["covariate sex"].fillna("").tolist() == ["female", "male", ""]
    assert (table["covariate age"] >= 18).all()
    names = [covariate["name"] for covariate in schema(tmp_path)["covariates"]]
    assert names == ["age", "sex"]


def test_there_are_ten_buckets_and_two_outcomes(generated):
    assert len(BUCKETS) == 10
    for task, labels in (("length-of-stay", BUCKETS), ("mortality", ("survived", "died"))):
        assert tuple(schema(generated, task=task)["labels"]) == labels
        table = index(generated, PreparationLog(), task=task)
        assert (table[list(labels)].sum(axis=1) == 1).all()
        kind = "ordinal" if task == "length-of-stay" else "single-label"
        assert schema(generated, task=task)["task"] == kind


def test_the_schema_makes_a_manifest_of_48_hours(generated):
    manifest = Manifest(
        site="micu",
        made_by="a test",
        windows={"train": 1, "val": 0, "test": 0},
        **schema(generated, chartevents=None),
    )
    assert manifest.shape == (28, 48, 1)
    assert len(manifest.modalities) == 17 + 10 + 1
    assert manifest.patch_seconds == 3600
    assert "Credentialed" in manifest.license


# ---- unusable input


@pytest.mark.parametrize(
    ("name", "column", "text", "missing"),
    [
        ("icustays", "intime", "soon", "an intime like"),
        ("icustays", "hadm_id", "5", "an admission in admissions"),
        ("admissions", "admittime", "", "an admission in admissions"),
        ("admissions", "hospital_expire_flag", "2", "a hospital_expire_flag of 0 or 1"),
        ("patients", "anchor_age", "old", "a patient in patients with an anchor_age"),
        ("patients", "subject_id", "7", "a patient in patients with an anchor_age"),
    ],
)
def test_an_unusable_stay_is_rejected(tmp_path, name, column, text, missing):
    tables = make_empty_tables(3)
    tables[name] = tables[name].astype(object)
    tables[name].loc[1, column] = text
    write_tables(tmp_path, tables)
    log = PreparationLog()
    table = index(tmp_path, log)
    assert table["record_id"].tolist() == ["30000000", "30000002"]
    [sentence] = log.rejected
    assert sentence.startswith(f"ICU stay 30000001 is without {missing}")
    assert log.notes[0].startswith("3 ICU stays of 3 patients; 1 cannot be used; 0 shorter")
    with pytest.raises(DataError, match="ICU stay 30000001 is without"):
        index(tmp_path, PreparationLog(strict=True))


@pytest.mark.parametrize(("name", "key"), [("icustays", "stay_id"), ("patients", "subject_id")])
def test_two_different_rows_of_one_id_are_refused(tmp_path, name, key):
    tables = make_empty_tables(2)
    tables[name].loc[1, key] = tables[name].loc[0, key]
    write_tables(tmp_path, tables)
    with pytest.raises(DataError, match=f"{key} [13]0000000 appears twice"):
        index(tmp_path, PreparationLog())


def test_an_unknown_task_is_refused(generated):
    for function in (schema, lambda source, task: index(source, PreparationLog(), task=task)):
        with pytest.raises(
            DataError, match='"readmission" is unknown: choose mortality, length-of-stay, remaining-days'
        ):
            function(generated, task="readmission")
