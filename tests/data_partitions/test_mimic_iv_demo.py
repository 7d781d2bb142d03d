"""The open demo of MIMIC-IV: its cohort and its windows are the same by an independent computation."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import mimic_iv
from data_partitions.sources.mimic_iv import index, schema
from data_partitions.sources.mimic_iv.items import VARIABLES
from tests.helpers.mimic_iv_stays import prepared


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
    log = PreparationLog()
    table = index(demo, log)
    for removed, left, deaths in counts:
        sentence.append(f"{removed} .* removed, leaving {left} \\({deaths} died in hospital\\)")
    assert log.rejected == []
    assert len(log.notes) == 1
    assert re.fullmatch("140 ICU stays of 100 patients; " + "; ".join(sentence) + r"\.", log.notes[0])
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
