import gzip
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from generated_mimic_iv import COLUMNS, make_tables, place_of, write_tables

from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.report import Report
from data_partitions.sources import mimic_iv, mimic_iv_tables
from data_partitions.sources.mimic_iv import BUCKETS, HOURS, VARIABLES, download, index, read, schema
from data_partitions.splits import fixed_splits

EVENTS = {"chart": "chartevents", "lab": "labevents", "output": "outputevents"}
H = 3600


def empty_tables(stays=1, version="3.1"):
    """Tables of stays of which nothing was measured."""
    tables = make_tables(stays, version=version)
    return {n: t.iloc[:0] if n in EVENTS.values() else t.copy() for n, t in tables.items()}


def with_events(tables, *events):
    """Tables with events (table, stay number, seconds after its intime, item, value) added, in that order."""
    for kind, name in EVENTS.items():
        rows = []
        for table, number, second, item, value in events:
            if table == kind:
                stay = tables["icustays"].iloc[number]
                time = stay["intime"] + pd.Timedelta(seconds=second)
                of_stay = {key: stay[key] for key in ("subject_id", "hadm_id", "stay_id")}
                numeric = not isinstance(value, str)
                rows.append(
                    {**of_stay, "charttime": time, "itemid": item, "value": value}
                    | {"valuenum": value if numeric else np.nan}
                )
        if rows:
            added = pd.DataFrame(rows).astype({"value": object}).reindex(columns=tables[name].columns)
            tables[name] = pd.concat([tables[name].astype(object), added], ignore_index=True)
    return tables


def prepared(folder, **options):
    """Index, windows (None: left out) and report."""
    report = Report()
    table = index(folder, report, **options)
    return table, list(read(folder, table, report, **options)), report


def hours_of(folder, *events, **options):
    """Of one stay with these events: {variable: {hour: value}} of what was observed, and the report."""
    write_tables(folder, with_events(empty_tables(), *[(kind, 0, *rest) for kind, *rest in events]))
    _, [window], report = prepared(folder, **options)
    if window is None:
        return {}, report
    assert window.shape == (len(VARIABLES), HOURS, 1)
    assert window.dtype == np.float32
    found = {
        name: {int(hour): pytest.approx(float(row[hour, 0]), rel=1e-6) for hour in np.flatnonzero(seen)}
        for name, row, seen in zip(VARIABLES, window, np.isfinite(window[:, :, 0]), strict=True)
    }
    return {name: hours for name, hours in found.items() if hours}, report


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """40 stays with all their events; treat as read-only."""
    return write_tables(tmp_path_factory.mktemp("mimic") / "gz")


@pytest.fixture(scope="module")
def generated_windows(generated):
    return np.stack(prepared(generated)[1])


# ---- cohort


def cohort_tables():
    """Nine stays: one to keep, and one or more for each rule."""
    tables = with_events(empty_tables(9), *[("chart", n, 60, 220045, 80) for n in range(8)])
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


def test_a_stay_that_cannot_be_used_still_counts_in_its_admission(tmp_path):
    tables = cohort_tables()
    tables["icustays"].loc[5, "intime"] = pd.NaT
    write_tables(tmp_path, tables)
    report = Report()
    table = index(tmp_path, report)
    assert len(report.bad) == 1
    assert not set(tables["icustays"]["stay_id"][4:6].astype(str)) & set(table["record_id"])
    assert "1 of admissions with more than one ICU stay removed" in report.notes[0]


def test_each_rule_removes_its_stays_in_order_and_says_how_many(tmp_path):
    write_tables(tmp_path, cohort_tables())
    table, windows, report = prepared(tmp_path)
    assert report.bad == []
    assert report.notes == [
        "9 ICU stays of 8 patients; "
        "2 shorter than 48 h or without a known end removed, leaving 7 (4 died in hospital); "
        "1 of patients under 18 removed, leaving 6 (4 died in hospital); "
        "2 of admissions with more than one ICU stay removed, leaving 4 (2 died in hospital); "
        "1 with a transfer between units removed, leaving 3 (2 died in hospital).",
        "Removed as nothing was measured in their first 48 h: 1 of 3 ICU stays, "
        "leaving 2 (1 died in hospital).",
    ]
    assert table["record_id"].tolist() == ["30000000", "30000007", "30000008"]
    assert [window is None for window in windows] == [False, False, True]


def test_a_short_stay_still_makes_an_admission_one_with_several(tmp_path):
    tables = empty_tables(2)
    stays = tables["icustays"]
    stays.loc[1, ["subject_id", "hadm_id"]] = stays.loc[0, ["subject_id", "hadm_id"]]
    stays.loc[1, "outtime"] = stays.loc[1, "intime"] + pd.Timedelta(hours=1)
    assert len(index(write_tables(tmp_path, tables), Report())) == 0


def test_the_index_has_text_ids_splits_by_patient_and_the_unit_as_site(tmp_path):
    tables = make_tables(60)
    stays = tables["icustays"]
    stays.loc[1, "subject_id"] = stays.loc[0, "subject_id"]  # a second admission of the first patient
    tables["admissions"].loc[1, "subject_id"] = stays.loc[0, "subject_id"]
    tables["patients"] = tables["patients"].drop(1)
    tables["patients"].loc[0, ["anchor_age", "anchor_year"]] = [50, 2150]
    units = ["Medical Intensive Care Unit (MICU)", "Medical/Surgical Intensive Care Unit (MICU/SICU)"]
    units += ["Neuro Surgical Intensive Care Unit (Neuro SICU)", "Neuro Stepdown", "Trauma SICU (TSICU)"]
    stays.loc[:4, "first_careunit"] = stays.loc[:4, "last_careunit"] = units
    table = index(write_tables(tmp_path, tables), Report())
    assert table["site"][:5].tolist() == ["micu", "micu-sicu", "neuro-sicu", "neuro-stepdown", "tsicu"]
    assert table["patient_id"][:3].tolist() == ["10000000", "10000000", "10000002"]
    assert table["record_id"][:3].tolist() == ["30000000", "30000001", "30000002"]
    assert table["patient_id"].nunique() == 59
    assert dict(zip(table["patient_id"], table["split"], strict=True)) == fixed_splits(
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
def test_length_of_stay_is_what_remains_from_hour_48(tmp_path, remaining, bucket):
    tables = empty_tables()
    tables["icustays"]["outtime"] = tables["icustays"]["intime"] + pd.Timedelta(hours=48, seconds=remaining)
    table = index(write_tables(tmp_path, tables), Report(), task="length-of-stay")
    assert [name for name in BUCKETS if table[name][0] == 1] == [bucket]


def test_there_are_ten_buckets_and_two_outcomes(generated):
    assert len(BUCKETS) == 10
    for task, labels in (("length-of-stay", BUCKETS), ("mortality", ("survived", "died"))):
        assert tuple(schema(generated, task=task)["labels"]) == labels
        table = index(generated, Report(), task=task)
        assert (table[list(labels)].sum(axis=1) == 1).all()
        assert schema(generated, task=task)["task"] == "single-label"
        assert schema(generated, task=task)["ordered"] == (task == "length-of-stay")


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


# ---- windows


def test_an_hour_has_its_last_value_and_ends_where_the_next_begins(tmp_path):
    found, _ = hours_of(
        tmp_path,
        ("chart", 0, 220045, 70),
        ("chart", H - 1, 220045, 71),
        ("chart", H, 220045, 72),
        ("chart", H + 30, 220045, 73),
        ("chart", 48 * H - 1, 220045, 74),
        ("chart", 48 * H, 220045, 75),
        ("output", 5 * H, 226559, 250),
        ("lab", 7 * H, 50912, 1.3),
    )
    assert found == {
        "heart rate": {0: 71, 1: 73, 47: 74},
        "urine": {5: 250},
        "creatinine": {7: 1.3},
    }


def test_the_order_of_rows_and_rows_that_are_there_twice_change_nothing(
    tmp_path, generated, generated_windows
):
    tables = make_tables()
    for name in EVENTS.values():
        table = pd.concat([tables[name], tables[name].iloc[::3]])
        tables[name] = table.sample(frac=1, random_state=1)
    tables["icustays"] = pd.concat([tables["icustays"], tables["icustays"].iloc[:5]])
    _, windows, report = prepared(write_tables(tmp_path, tables))
    np.testing.assert_array_equal(np.stack(windows), generated_windows)
    assert report.notes[0].startswith("40 ICU stays of 40 patients")


@pytest.mark.parametrize("backwards", [False, True])
def test_of_two_values_at_one_time_the_greater_is_taken(tmp_path, backwards):
    events = [("chart", 60, 224689, 0), ("chart", 60, 224690, 18), ("chart", 60, 220210, 17)]
    found, _ = hours_of(tmp_path, *events[:: -1 if backwards else 1])
    assert found == {"respiratory rate": {0: 18}}


def test_a_cell_is_the_same_by_an_independent_computation(generated, generated_windows):
    table = index(generated, Report())
    chart = pd.read_csv(place_of(generated, "chartevents"), parse_dates=["charttime"], low_memory=False)
    chart = chart[chart["itemid"].isin([220210, 220277])].merge(table[["stay_id", "intime"]], on="stay_id")
    chart["hour"] = (chart["charttime"] - chart["intime"]) // pd.Timedelta(hours=1)
    chart = chart[chart["hour"].between(0, 47)].sort_values(["charttime", "valuenum"])
    last = chart.groupby(["itemid", "stay_id", "hour"])["valuenum"].last()
    for item, name in ((220210, "respiratory rate"), (220277, "oxygen saturation")):
        expected = last[item].unstack().reindex(index=table["stay_id"], columns=range(48)).to_numpy()
        found = generated_windows[:, list(VARIABLES).index(name), :, 0]
        np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("arterial", "cuff", "name"),
    [
        (220050, 220179, "systolic BP"),
        (225309, 220179, "systolic BP"),
        (220051, 220180, "diastolic BP"),
        (225310, 220180, "diastolic BP"),
        (220052, 220181, "mean BP"),
        (225312, 220181, "mean BP"),
    ],
)
def test_a_pressure_by_arterial_line_wins_over_a_later_one_by_cuff(tmp_path, arterial, cuff, name):
    found, _ = hours_of(
        tmp_path,
        ("chart", 60, arterial, 90),
        ("chart", 120, arterial, 91),
        ("chart", 3000, cuff, 120),
        ("chart", H + 60, cuff, 121),  # alone in its hour
    )
    assert found == {name: {0: 91, 1: 121}}


def test_an_implausible_arterial_pressure_does_not_hide_the_cuff(tmp_path):
    found, _ = hours_of(tmp_path, ("chart", 60, 220050, 999), ("chart", 30, 220179, 120))
    assert found == {"systolic BP": {0: 120}}


@pytest.mark.parametrize(
    ("event", "name", "expected"),
    [
        (("chart", 223761, 98.6), "temperature", 37),
        (("chart", 223762, 37), "temperature", 37),
        (("chart", 223835, 40), "FiO2", 0.4),
        (("chart", 223835, 0.4), "FiO2", 0.4),
        (("chart", 223835, 1), "FiO2", 1),
        (("chart", 223835, 100), "FiO2", 1),
        (("chart", 223835, 21), "FiO2", 0.21),
        (("chart", 226531, 200), "weight", 90.718474),
        (("chart", 224639, 90), "weight", 90),
        (("chart", 226512, 90), "weight", 90),
        (("chart", 226707, 70), "height", 177.8),
        (("chart", 226730, 170), "height", 170),
        (("chart", 223951, "Normal <3 Seconds"), "capillary refill", 0),
        (("chart", 223951, "Abnormal >3 Seconds"), "capillary refill", 1),
        (("chart", 224308, "Abnormal >3 Seconds"), "capillary refill", 1),
        (("chart", 223900, "No Response-ETT"), "GCS verbal", 1),
        (("lab", 50817, 97), "oxygen saturation", 97),
        (("lab", 50931, 110), "glucose", 110),
        (("lab", 50809, 110), "glucose", 110),
        (("lab", 50820, 7.31), "pH", 7.31),
        (("chart", 220274, 7.31), "pH", 7.31),
        (("lab", 51006, 20), "urea nitrogen", 20),
        (("lab", 51265, 200), "platelets", 200),
    ],
)
def test_each_item_comes_in_the_unit_of_its_variable(tmp_path, event, name, expected):
    kind, item, value = event
    found, report = hours_of(tmp_path, (kind, 60, item, value))
    assert found == {name: {0: expected}}
    assert len(report.notes) == 2, "nothing dropped"


def test_an_intubated_patients_verbal_response_is_1_whatever_number_is_beside_it(tmp_path):
    tables = with_events(empty_tables(), ("chart", 0, 60, 223900, "No Response-ETT"))
    tables["chartevents"]["valuenum"] = 0.0
    _, [window], _ = prepared(write_tables(tmp_path, tables))
    assert window[list(VARIABLES).index("GCS verbal"), 0, 0] == 1


def test_the_total_of_the_coma_scale_needs_all_three_parts_in_the_hour(tmp_path):
    found, _ = hours_of(
        tmp_path,
        *[("chart", 60 + i, item, value) for i, (item, value) in enumerate([(220739, 3), (223900, 4)])],
        ("chart", 3599, 223901, 5),
        ("chart", H + 60, 220739, 4),
        ("chart", H + 60, 223900, 5),
        ("chart", 2 * H + 60, 223901, 6),
    )
    assert found["GCS total"] == {0: 12}
    assert found["GCS motor"] == {0: 5, 2: 6}


@pytest.mark.parametrize(
    ("item", "name", "inside", "outside"),
    [
        (220045, "heart rate", (0, 350), (-1, 351)),
        (220050, "systolic BP", (0, 375), (-1, 376)),
        (220051, "diastolic BP", (0, 375), (-1, 376)),
        (220052, "mean BP", (14, 330), (13, 331)),
        (223835, "FiO2", (21, 100), (20.9, 101)),
        (220739, "GCS eye", (1, 4), (0, 5)),
        (223900, "GCS verbal", (1, 5), (0, 6)),
        (223901, "GCS motor", (1, 6), (0, 7)),
        (220621, "glucose", (33, 2000), (32, 2001)),
        (226730, "height", (1, 240), (0, 241)),
        (226531, "weight", (50, 800), (0, 9999)),
        (220277, "oxygen saturation", (0, 100), (-1, 101)),
    ],
)
def test_values_outside_the_plausible_range_are_dropped_and_counted(tmp_path, item, name, inside, outside):
    found, report = hours_of(
        tmp_path,
        *[("chart", n * H, item, value) for n, value in enumerate((*inside, *outside))],
        ("lab", 60, 50813, 1000),
        ("lab", 60, 50912, 0.05),
        ("chart", 60 * H, item, outside[0]),  # after the window: not counted
    )
    assert list(found) == [name]
    assert list(found[name]) == [0, 1]
    expected = f"Dropped as they are outside the plausible range of their variable: {name} 2, "
    assert report.notes[1] in (expected + "creatinine 1, lactate 1.", expected + "lactate 1, creatinine 1.")


def test_fahrenheit_under_the_celsius_item_is_dropped_and_named(tmp_path):
    found, report = hours_of(
        tmp_path,
        ("chart", 0, 223762, 98.6),
        ("chart", 60, 223762, 101),
        ("chart", 120, 223762, 0),
        ("chart", H, 223761, 37),
        ("chart", 2 * H, 223762, 36.6),
    )
    assert found == {"temperature": {2: 36.6}}
    assert report.notes[1:3] == [
        "Dropped as they are outside the plausible range of their variable: temperature 4.",
        "Of the dropped temperatures 2 were under the Celsius item (223762) and would be plausible in "
        "Fahrenheit.",
    ]


def test_a_refill_that_is_neither_normal_nor_abnormal_is_dropped_and_counted(tmp_path):
    found, report = hours_of(
        tmp_path, ("chart", 0, 223951, "Other/Remarks"), ("chart", 60, 220045, 80), ("chart", H, 223951, "")
    )
    assert found == {"heart rate": {0: 80}}
    assert report.notes[1].endswith("variable: capillary refill 1.")


def test_events_before_the_stay_are_dropped_and_counted(tmp_path):
    found, report = hours_of(
        tmp_path,
        ("chart", -1, 220045, 80),
        ("chart", -90000, 220045, 80),
        ("output", -60, 226559, 100),
        ("lab", -60, 50912, 1),  # not of the stay: labs are of the patient
        ("chart", 0, 220045, 81),
    )
    assert found == {"heart rate": {0: 81}}
    assert report.notes[1] == "Dropped as they were charted before the stay began: 3 values."


def test_an_event_without_a_time_or_a_number_is_no_event(tmp_path):
    tables = with_events(
        empty_tables(),
        ("lab", 0, 60, 50912, 1.0),
        ("lab", 0, H, 50912, "HEMOLYZED"),
        ("lab", 0, 2 * H, 50912, 2.0),
    )
    tables["labevents"].loc[2, "charttime"] = pd.NaT
    _, [window], report = prepared(write_tables(tmp_path, tables))
    assert np.isfinite(window).sum() == 1
    assert len(report.notes) == 2


def test_labs_go_to_the_stay_of_the_patient_in_whose_48_hours_they_are(tmp_path):
    tables = empty_tables(3)
    stays, admissions = tables["icustays"], tables["admissions"]
    intime = stays.loc[0, "intime"]
    for row in (1, 2):  # three admissions of one patient, the second later than the third
        stays.loc[row, "subject_id"] = admissions.loc[row, "subject_id"] = stays.loc[0, "subject_id"]
        later = intime + pd.Timedelta(days=[0, 40, 5][row])
        stays.loc[row, "intime"], admissions.loc[row, "admittime"] = later, later
        stays.loc[row, "outtime"] = later + pd.Timedelta(hours=50)
    stays.loc[0, "outtime"] = intime + pd.Timedelta(hours=50)
    tables["patients"] = tables["patients"].drop([1, 2])
    day = 24 * H
    seconds = [-H, 0, 48 * H - 1, 48 * H, 5 * day - 1, 5 * day, 6 * day, 40 * day + 60, 99 * day]
    with_events(tables, *[("lab", 0, s, 50912, 1.0 + n) for n, s in enumerate(seconds)])
    tables["labevents"]["hadm_id"] = ""  # as often in MIMIC-IV: it must not matter
    _, windows, report = prepared(write_tables(tmp_path, tables))
    found = [w[list(VARIABLES).index("creatinine"), :, 0] for w in windows]
    assert [{int(h): w[h] for h in np.flatnonzero(np.isfinite(w))} for w in found] == [
        {0: 2.0, 47: 3.0},
        {0: 8.0},
        {0: 6.0, 24: 7.0},
    ]
    assert len(report.notes) == 2


# ---- files


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.2"])
@pytest.mark.parametrize("gz", [True, False])
def test_every_layout_gives_the_same_windows(tmp_path, generated_windows, version, gz):
    tables = make_tables(version=version)
    write_tables(tmp_path, tables, version=version, gz=gz)
    assert (tmp_path / "core").is_dir() == (version == "1.0")
    _, windows, _ = prepared(tmp_path)
    np.testing.assert_array_equal(np.stack(windows), generated_windows)


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.0", "1.0"), ("2.0", "2.0 or 2.1"), ("2.2", "2.2"), ("3.1", "3.0 or 3.1")],
)
def test_the_version_is_told_by_folders_and_columns(tmp_path, version, said):
    write_tables(tmp_path, make_tables(20, version=version), version=version)
    assert schema(tmp_path)["version"] == f"{said}, 20 ICU stays"


@pytest.mark.parametrize(
    ("rows", "read_bytes", "block_bytes"), [(1, 2**18, 2**23), (7, 100, 64), (1000, 4096, 10**4)]
)
def test_chunks_of_any_size_give_the_same(
    tmp_path, monkeypatch, generated, generated_windows, rows, read_bytes, block_bytes
):
    few = index(generated, Report()).iloc[:3]
    folder = tmp_path / "few"
    tables = make_tables()
    for name in EVENTS.values():  # a row is a chunk, so not too many of them
        tables[name] = tables[name][tables[name]["subject_id"].isin(few["subject_id"])].iloc[:1500]
    write_tables(folder, tables)
    expected = np.stack(list(read(folder, few, Report())))
    monkeypatch.setattr(mimic_iv_tables, "CHUNK_ROWS", rows)
    monkeypatch.setattr(mimic_iv_tables, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(mimic_iv_tables._decompressed, "__defaults__", (read_bytes,))
    np.testing.assert_array_equal(np.stack(list(read(folder, few, Report()))), expected)


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path, generated, generated_windows):
    content = gzip.decompress(place_of(generated, "chartevents").read_bytes())
    cuts = [0, 10, len(content) // 2, len(content)]
    members = [gzip.compress(content[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    other = tmp_path / "chart events.gz"
    other.write_bytes(b"".join(members) + b"\0" * 512)
    _, windows, _ = prepared(generated, chartevents=other)
    np.testing.assert_array_equal(np.stack(windows), generated_windows)


def test_chartevents_may_be_another_file_with_fewer_columns(tmp_path, generated_windows):
    tables = make_tables()
    chart = tables["chartevents"][["itemid", "stay_id", "value", "charttime", "valuenum"]]
    write_tables(tmp_path, tables, leave_out=["chartevents"])
    chart.to_csv(tmp_path / "mine.csv", index=False)
    _, windows, _ = prepared(tmp_path, chartevents=tmp_path / "mine.csv")
    np.testing.assert_array_equal(np.stack(windows), generated_windows)


def test_windows_come_in_the_order_that_is_asked_for(generated, generated_windows):
    table = index(generated, Report())
    some = [7, 0, 31]
    windows = list(read(generated, table.iloc[some], Report()))
    np.testing.assert_array_equal(np.stack(windows), generated_windows[some])


def test_progress_ends_where_the_files_end(generated):
    told = {}
    report = Report(progress=lambda what, done, total: told.setdefault(what, []).append((done, total)))
    list(read(generated, index(generated, report), report))
    assert list(told) == ["reading chartevents", "reading outputevents", "reading labevents"]
    for what, steps in told.items():
        size = place_of(generated, what.split()[1]).stat().st_size
        assert steps[-1] == (size, size)


# ---- what cannot be used


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_table_is_named_with_its_place_and_the_versions(tmp_path, name):
    write_tables(tmp_path, stays=2, leave_out=[name])
    place = str(place_of(tmp_path, name, gz=False))
    with pytest.raises(DataError) as caught:
        prepared(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"there is no {place}.gz or .csv")
    assert "version 1.0, 2.x or 3.x" in message
    assert ("nor in core/" in message) == (name in ("patients", "admissions"))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("patients", "anchor_age"),
        ("admissions", "hospital_expire_flag"),
        ("icustays", "outtime"),
        ("chartevents", "valuenum"),
        ("chartevents", "value"),
        ("labevents", "subject_id"),
        ("outputevents", "stay_id"),
    ],
)
def test_a_missing_column_is_named_with_its_file(tmp_path, name, column):
    tables = make_tables(2)
    tables[name] = tables[name].drop(columns=column)
    write_tables(tmp_path, tables)
    with pytest.raises(DataError, match=rf"{name}\.csv\.gz lacks the column {column}: it has .*3\.x"):
        prepared(tmp_path)


def test_a_chartevents_path_without_a_file_is_refused(generated):
    with pytest.raises(DataError, match="there is no file nowhere.csv: chartevents must be the path"):
        prepared(generated, chartevents="nowhere.csv")


def big_chartevents(folder):
    """A chartevents of many rows and blocks, incompressible enough that its middle is in the middle."""
    tables = make_tables(30, unneeded=3000)
    write_tables(folder, tables)
    return place_of(folder, "chartevents"), len(tables["chartevents"])


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_named_with_about_the_row(tmp_path, damage):
    file, rows = big_chartevents(tmp_path)
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    if damage == "cut":
        del content[half:]
    else:
        content[half : half + 4000] = np.random.default_rng(0).bytes(4000)
    file.write_bytes(content)
    with pytest.raises(
        DataError, match=r"chartevents\.csv\.gz is damaged after about ([\d,]+) rows"
    ) as caught:
        prepared(tmp_path)
    said = int(str(caught.value).split("about ")[1].split(" ")[0].replace(",", ""))
    # After a change inflate may go on for a while before what it gives makes no sense.
    assert 0.45 * rows < said < (0.55 if damage == "cut" else 1) * rows
    assert "fetch it anew" in str(caught.value)


def test_a_changed_checksum_is_noticed(tmp_path):
    file, rows = big_chartevents(tmp_path)
    content = bytearray(file.read_bytes())
    content[-6] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged after about .*incorrect data check"):
        prepared(tmp_path)


def test_a_cut_that_loses_only_the_end_of_the_stream_is_noticed(tmp_path):
    write_tables(tmp_path)
    file = place_of(tmp_path, "labevents")
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"labevents.csv.gz is damaged .*its end is missing"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("name", "column", "text", "sentence"),
    [
        ("chartevents", "valuenum", "eighty", r"not as expected somewhere after row 0 .*eighty"),
        ("chartevents", "charttime", "yesterday", r"has a charttime that is no time like .*yesterday"),
        ("labevents", "itemid", "fifty", r"not as expected somewhere after row 0 .*fifty"),
    ],
)
def test_a_value_of_another_type_is_said_with_its_file(tmp_path, name, column, text, sentence):
    tables = make_tables(3)
    tables[name] = tables[name].astype(object)
    wanted = tables[name]["itemid"].isin([220045, 50912])
    tables[name].loc[wanted.idxmax(), column] = text
    write_tables(tmp_path, tables)
    with pytest.raises(DataError, match=rf"{name}\.csv\.gz {sentence}|{name}\.csv\.gz is {sentence}"):
        prepared(tmp_path)


def test_a_quote_that_does_not_end_is_said(tmp_path):
    write_tables(tmp_path, gz=False)
    with open(place_of(tmp_path, "outputevents", gz=False), "a") as file:
        file.write('1,2,3,"4,5,6,7,8,9\n')
    with pytest.raises(DataError, match=r"outputevents\.csv is not as expected .*EOF inside string"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("name", "column", "text", "lacks"),
    [
        ("icustays", "intime", "soon", "an intime like"),
        ("icustays", "hadm_id", "5", "an admission in admissions"),
        ("admissions", "admittime", "", "an admission in admissions"),
        ("admissions", "hospital_expire_flag", "2", "a hospital_expire_flag of 0 or 1"),
        ("patients", "anchor_age", "old", "a patient in patients with an anchor_age"),
        ("patients", "subject_id", "7", "a patient in patients with an anchor_age"),
    ],
)
def test_a_stay_that_cannot_be_used_is_left_out_and_said(tmp_path, name, column, text, lacks):
    tables = empty_tables(3)
    tables[name] = tables[name].astype(object)
    tables[name].loc[1, column] = text
    write_tables(tmp_path, tables)
    report = Report()
    table = index(tmp_path, report)
    assert table["record_id"].tolist() == ["30000000", "30000002"]
    [sentence] = report.bad
    assert sentence.startswith(f"ICU stay 30000001 lacks {lacks}")
    assert report.notes[0].startswith("3 ICU stays of 3 patients; 1 cannot be used; 0 shorter")
    with pytest.raises(DataError, match="ICU stay 30000001 lacks"):
        index(tmp_path, Report(strict=True))


@pytest.mark.parametrize(("name", "key"), [("icustays", "stay_id"), ("patients", "subject_id")])
def test_two_rows_of_one_id_that_differ_are_refused(tmp_path, name, key):
    tables = empty_tables(2)
    tables[name].loc[1, key] = tables[name].loc[0, key]
    write_tables(tmp_path, tables)
    with pytest.raises(DataError, match=f"{key} [13]0000000 is there twice"):
        index(tmp_path, Report())


def test_an_unknown_task_is_refused(generated):
    for function in (schema, lambda source, task: index(source, Report(), task=task)):
        with pytest.raises(DataError, match='"readmission" is unknown: choose mortality or length-of-stay'):
            function(generated, task="readmission")


def test_download_says_how_to_apply(tmp_path):
    with pytest.raises(
        DataError, match="training and sign the data use agreement .*physionet.org/content/mimic"
    ):
        download(tmp_path, Report())


# ---- the open demo


@pytest.fixture
def demo():
    """The MIMIC-IV demo 2.2 in CONDI_DATA or beside the repository; else the test is skipped."""
    places = [os.environ.get("CONDI_DATA"), Path(__file__).parents[3] / "shared" / "data"]
    for place in filter(None, places):
        if (Path(place) / "mimic-iv-demo" / "icu" / "icustays.csv.gz").exists():
            return Path(place) / "mimic-iv-demo"
    pytest.skip("no MIMIC-IV demo here: set CONDI_DATA to the folder that has mimic-iv-demo/")


def test_the_cohort_of_the_demo(demo):
    stays = pd.read_csv(demo / "icu" / "icustays.csv.gz", parse_dates=["intime", "outtime"])
    admissions = pd.read_csv(demo / "hosp" / "admissions.csv.gz", parse_dates=["admittime"])
    patients = pd.read_csv(demo / "hosp" / "patients.csv.gz").set_index("subject_id")
    died = stays["hadm_id"].map(admissions.set_index("hadm_id")["hospital_expire_flag"])
    year = stays["hadm_id"].map(admissions.set_index("hadm_id")["admittime"]).dt.year
    age = year - stays["subject_id"].map(patients["anchor_year"] - patients["anchor_age"])
    counts, sentence = [], []
    kept = pd.Series(True, stays.index)
    for rule in (
        stays["los"] >= 2,
        age >= 18,
        ~stays["hadm_id"].duplicated(keep=False),
        stays["first_careunit"] == stays["last_careunit"],
    ):
        counts.append((int((kept & ~rule).sum()), int((kept & rule).sum()), int(died[kept & rule].sum())))
        kept &= rule
    assert counts == [(66, 74, 12), (0, 74, 12), (12, 62, 10), (9, 53, 8)]
    report = Report()
    table = index(demo, report)
    for removed, left, deaths in counts:
        sentence.append(f"{removed} .* removed, leaving {left} \\({deaths} died in hospital\\)")
    assert report.bad == []
    assert len(report.notes) == 1
    assert re.fullmatch("140 ICU stays of 100 patients; " + "; ".join(sentence) + r"\.", report.notes[0])
    assert table["stay_id"].tolist() == stays.loc[kept, "stay_id"].tolist()
    assert table["died"].tolist() == died[kept].tolist()
    assert schema(demo)["version"] == "2.2, 140 ICU stays"
    assert "ODbL" in schema(demo)["license"]


def test_the_windows_of_the_demo(demo):
    file = demo / "icu" / "chartevents_20of100.csv.gz"
    table, windows, _ = prepared(demo, chartevents=file)
    chart = pd.read_csv(file, parse_dates=["charttime"], low_memory=False)
    chart = chart[chart["itemid"] == 220045].merge(table[["stay_id", "intime"]], on="stay_id")
    chart["hour"] = (chart["charttime"] - chart["intime"]) // pd.Timedelta(hours=1)
    chart = chart[chart["hour"].between(0, 47)].sort_values("charttime")
    expected = chart.groupby(["stay_id", "hour"])["valuenum"].last().unstack()
    expected = expected.reindex(index=table["stay_id"], columns=range(48)).to_numpy(np.float32)
    rate = np.stack(windows)[:, list(VARIABLES).index("heart rate"), :, 0]
    np.testing.assert_array_equal(rate, expected)
    with_chart = np.isfinite(rate).any(axis=1)
    assert set(table["stay_id"][with_chart]) == set(chart["stay_id"])
    assert int(with_chart.sum()) == 10
    assert all(window is not None for window in windows), "laboratory values are there of all 100 patients"
    assert mimic_iv.DATASET == "mimic-iv"
