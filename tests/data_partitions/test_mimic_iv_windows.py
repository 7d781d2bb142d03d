"""An hour of a stay of MIMIC-IV has the last plausible value of each variable, in its unit."""

import numpy as np
import pandas as pd
import pytest

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv import index
from data_partitions.sources.mimic_iv.items import VARIABLES
from tests.helpers.generated_mimic_iv import make_tables, table_path, write_tables
from tests.helpers.mimic_iv_stays import (
    EVENTS,
    HOUR,
    add_events,
    make_empty_tables,
    prepare,
    read_hourly_values,
)


def test_an_hour_has_its_last_value_and_ends_at_the_start_of_the_next(tmp_path):
    values, _ = read_hourly_values(
        tmp_path,
        ("chart", 0, 220045, 70),
        ("chart", HOUR - 1, 220045, 71),
        ("chart", HOUR, 220045, 72),
        ("chart", HOUR + 30, 220045, 73),
        ("chart", 48 * HOUR - 1, 220045, 74),
        ("chart", 48 * HOUR, 220045, 75),
        ("output", 5 * HOUR, 226559, 250),
        ("lab", 7 * HOUR, 50912, 1.3),
    )
    assert values == {
        "heart rate": {0: 71, 1: 73, 47: 74},
        "urine": {5: 250},
        "creatinine": {7: 1.3},
    }


def test_the_order_of_rows_and_repeated_rows_change_nothing(tmp_path, generated, generated_windows):
    tables = make_tables()
    for name in EVENTS.values():
        table = pd.concat([tables[name], tables[name].iloc[::3]])
        tables[name] = table.sample(frac=1, random_state=1)
    tables["icustays"] = pd.concat([tables["icustays"], tables["icustays"].iloc[:5]])
    _, windows, log = prepare(write_tables(tmp_path, tables))
    np.testing.assert_array_equal(np.stack(windows), generated_windows)
    assert log.notes[0].startswith("40 ICU stays of 40 patients")


@pytest.mark.parametrize("backwards", [False, True])
def test_of_two_values_at_one_time_the_larger_is_taken(tmp_path, backwards):
    events = [("chart", 60, 224689, 0), ("chart", 60, 224690, 18), ("chart", 60, 220210, 17)]
    values, _ = read_hourly_values(tmp_path, *events[:: -1 if backwards else 1])
    assert values == {"respiratory rate": {0: 18}}


def test_windows_agree_with_an_independent_computation(generated, generated_windows):
    table = index(generated, PreparationLog())
    chart = pd.read_csv(table_path(generated, "chartevents"), parse_dates=["charttime"], low_memory=False)
    chart = chart[chart["itemid"].isin([220210, 220277])].merge(table[["stay_id", "intime"]], on="stay_id")
    chart["hour"] = (chart["charttime"] - chart["intime"]) // pd.Timedelta(hours=1)
    chart = chart[chart["hour"].between(0, 47)].sort_values(["charttime", "valuenum"])
    last = chart.groupby(["itemid", "stay_id", "hour"])["valuenum"].last()
    for item, name in ((220210, "respiratory rate"), (220277, "oxygen saturation")):
        expected = last[item].unstack().reindex(index=table["stay_id"], columns=range(48)).to_numpy()
        values = generated_windows[:, list(VARIABLES).index(name), :, 0]
        np.testing.assert_array_equal(values, expected.astype(np.float32))


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
def test_a_pressure_by_arterial_line_has_priority_over_a_later_one_by_cuff(tmp_path, arterial, cuff, name):
    values, _ = read_hourly_values(
        tmp_path,
        ("chart", 60, arterial, 90),
        ("chart", 120, arterial, 91),
        ("chart", 3000, cuff, 120),
        ("chart", HOUR + 60, cuff, 121),  # alone in its hour
    )
    assert values == {name: {0: 91, 1: 121}}


def test_an_implausible_arterial_pressure_does_not_replace_that_of_the_cuff(tmp_path):
    values, _ = read_hourly_values(tmp_path, ("chart", 60, 220050, 999), ("chart", 30, 220179, 120))
    assert values == {"systolic BP": {0: 120}}


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
def test_each_item_is_converted_to_the_unit_of_its_variable(tmp_path, event, name, expected):
    kind, item, value = event
    values, log = read_hourly_values(tmp_path, (kind, 60, item, value))
    assert values == {name: {0: expected}}
    assert len(log.notes) == 2, "nothing is dropped"


def test_the_verbal_response_of_an_intubated_patient_is_1_whatever_the_number(tmp_path):
    tables = add_events(make_empty_tables(), ("chart", 0, 60, 223900, "No Response-ETT"))
    tables["chartevents"]["valuenum"] = 0.0
    _, [window], _ = prepare(write_tables(tmp_path, tables))
    assert window[list(VARIABLES).index("GCS verbal"), 0, 0] == 1


def test_the_total_of_the_coma_scale_needs_all_three_parts_in_the_hour(tmp_path):
    values, _ = read_hourly_values(
        tmp_path,
        *[("chart", 60 + i, item, value) for i, (item, value) in enumerate([(220739, 3), (223900, 4)])],
        ("chart", 3599, 223901, 5),
        ("chart", HOUR + 60, 220739, 4),
        ("chart", HOUR + 60, 223900, 5),
        ("chart", 2 * HOUR + 60, 223901, 6),
    )
    assert values["GCS total"] == {0: 12}
    assert values["GCS motor"] == {0: 5, 2: 6}


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
    values, log = read_hourly_values(
        tmp_path,
        *[("chart", n * HOUR, item, value) for n, value in enumerate((*inside, *outside))],
        ("lab", 60, 50813, 1000),
        ("lab", 60, 50912, 0.05),
        ("chart", 60 * HOUR, item, outside[0]),  # after the window: not counted
    )
    assert list(values) == [name]
    assert list(values[name]) == [0, 1]
    expected = f"Dropped because they are outside the plausible range of their variable: {name} 2, "
    assert log.notes[1] in (expected + "creatinine 1, lactate 1.", expected + "lactate 1, creatinine 1.")


def test_fahrenheit_under_the_celsius_item_is_dropped_and_named(tmp_path):
    values, log = read_hourly_values(
        tmp_path,
        ("chart", 0, 223762, 98.6),
        ("chart", 60, 223762, 101),
        ("chart", 120, 223762, 0),
        ("chart", HOUR, 223761, 37),
        ("chart", 2 * HOUR, 223762, 36.6),
    )
    assert values == {"temperature": {2: 36.6}}
    assert log.notes[1:3] == [
        "Dropped because they are outside the plausible range of their variable: temperature 4.",
        "Of the dropped temperatures, 2 have the Celsius item (223762) and would be plausible in Fahrenheit.",
    ]


def test_a_refill_that_is_neither_normal_nor_abnormal_is_dropped_and_counted(tmp_path):
    values, log = read_hourly_values(
        tmp_path,
        ("chart", 0, 223951, "Other/Remarks"),
        ("chart", 60, 220045, 80),
        ("chart", HOUR, 223951, ""),
    )
    assert values == {"heart rate": {0: 80}}
    assert log.notes[1].endswith("variable: capillary refill 1.")


def test_events_before_the_stay_are_dropped_and_counted(tmp_path):
    values, log = read_hourly_values(
        tmp_path,
        ("chart", -1, 220045, 80),
        ("chart", -90000, 220045, 80),
        ("output", -60, 226559, 100),
        ("lab", -60, 50912, 1),  # not of the stay: labs are of the patient
        ("chart", 0, 220045, 81),
    )
    assert values == {"heart rate": {0: 81}}
    assert log.notes[1] == "Dropped because they were charted before the stay began: 3 values."


def test_events_without_a_time_or_a_number_are_ignored(tmp_path):
    tables = add_events(
        make_empty_tables(),
        ("lab", 0, 60, 50912, 1.0),
        ("lab", 0, HOUR, 50912, "HEMOLYZED"),
        ("lab", 0, 2 * HOUR, 50912, 2.0),
    )
    tables["labevents"].loc[2, "charttime"] = pd.NaT
    _, [window], log = prepare(write_tables(tmp_path, tables))
    assert np.isfinite(window).sum() == 1
    assert len(log.notes) == 2


def test_laboratory_values_belong_to_the_stay_whose_48_hours_contain_them(tmp_path):
    tables = make_empty_tables(3)
    stays, admissions = tables["icustays"], tables["admissions"]
    intime = stays.loc[0, "intime"]
    for row in (1, 2):  # three admissions of one patient, the second later than the third
        stays.loc[row, "subject_id"] = admissions.loc[row, "subject_id"] = stays.loc[0, "subject_id"]
        later = intime + pd.Timedelta(days=[0, 40, 5][row])
        stays.loc[row, "intime"], admissions.loc[row, "admittime"] = later, later
        stays.loc[row, "outtime"] = later + pd.Timedelta(hours=50)
    stays.loc[0, "outtime"] = intime + pd.Timedelta(hours=50)
    tables["patients"] = tables["patients"].drop([1, 2])
    day = 24 * HOUR
    seconds = [-HOUR, 0, 48 * HOUR - 1, 48 * HOUR, 5 * day - 1, 5 * day, 6 * day, 40 * day + 60, 99 * day]
    add_events(tables, *[("lab", 0, s, 50912, 1.0 + n) for n, s in enumerate(seconds)])
    tables["labevents"]["hadm_id"] = ""  # as often in MIMIC-IV: it must not matter
    _, windows, log = prepare(write_tables(tmp_path, tables))
    creatinine = [w[list(VARIABLES).index("creatinine"), :, 0] for w in windows]
    assert [{int(h): w[h] for h in np.flatnonzero(np.isfinite(w))} for w in creatinine] == [
        {0: 2.0, 47: 3.0},
        {0: 8.0},
        {0: 6.0, 24: 7.0},
    ]
    assert len(log.notes) == 2
