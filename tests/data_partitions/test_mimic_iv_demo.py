"""The cohort and the windows of the open demo of MIMIC-IV agree with an independent computation."""

import re

import numpy as np
import pandas as pd
import pytest

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import mimic_iv
from data_partitions.sources.mimic_iv import index, schema
from data_partitions.sources.mimic_iv.items import VARIABLES
from tests.helpers.mimic_iv_stays import prepare
from tests.helpers.real_data import require_real

pytestmark = pytest.mark.real


@pytest.fixture
def demo():
    """The MIMIC-IV demo 2.2."""
    return require_real("mimic-iv-demo")


def test_the_cohort_of_the_demo(demo):
    stays = pd.read_csv(demo / "icu" / "icustays.csv.gz", parse_dates=["intime", "outtime"])
    admissions = pd.read_csv(demo / "hosp" / "admissions.csv.gz", parse_dates=["admittime"])
    patients = pd.read_csv(demo / "hosp" / "patients.csv.gz").set_index("subject_id")
    died = stays["hadm_id"].map(admissions.set_index("hadm_id")["hospital_expire_flag"])
    year = stays["hadm_id"].map(admissions.set_index("hadm_id")["admittime"]).dt.year
    age = year - stays["subject_id"].map(patients["anchor_year"] - patients["anchor_age"])
    counts, sentences = [], []
    selected = pd.Series(True, stays.index)
    for rule in (
        stays["los"] >= 2,
        age >= 18,
        ~stays["hadm_id"].duplicated(keep=False),
        stays["first_careunit"] == stays["last_careunit"],
    ):
        counts.append(
            (int((selected & ~rule).sum()), int((selected & rule).sum()), int(died[selected & rule].sum()))
        )
        selected &= rule
    assert counts == [(66, 74, 12), (0, 74, 12), (12, 62, 10), (9, 53, 8)]
    log = PreparationLog()
    table = index(demo, log)
    for removed, remaining, deaths in counts:
        sentences.append(f"{removed} .* removed, leaving {remaining} \\({deaths} died in hospital\\)")
    assert log.rejected == []
    assert len(log.notes) == 1
    assert re.fullmatch("140 ICU stays of 100 patients; " + "; ".join(sentences) + r"\.", log.notes[0])
    assert table["stay_id"].tolist() == stays.loc[selected, "stay_id"].tolist()
    assert table["died"].tolist() == died[selected].tolist()
    assert schema(demo)["version"] == "2.2, 140 ICU stays"
    assert "ODbL" in schema(demo)["license"]


def test_the_windows_of_the_demo(demo):
    file = demo / "icu" / "chartevents_20of100.csv.gz"
    table, windows, _ = prepare(demo, chartevents=file)
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
    assert all(window is not None for window in windows), "all 100 patients have laboratory values"
    assert mimic_iv.DATASET == "mimic-iv"
