"""MIMIC-IV: the first 48 h of ICU stays by the hour (Johnson et al., Scientific Data 10:1, 2023).

Expects the unpacked data set, version 1.0, 2.x or 3.x: patients, admissions and labevents in `hosp/` (in
1.0 the first two in `core/`), icustays, chartevents and outputevents in `icu/`, as .csv.gz or .csv.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv.events import HOURS, hourly_values
from data_partitions.sources.mimic_iv.items import VARIABLES
from data_partitions.sources.mimic_iv.tables import columns_of, find_table, read_table
from data_partitions.splits import hash_splits

DATASET = "mimic-iv"
ADULT = 18  # years
OUTCOMES = ("survived", "died")
# Remaining days in the ICU from hour 48 on; a bucket has its lower bound and not its upper one.
BOUNDS = (1, 2, 3, 4, 5, 6, 7, 8, 14)
BUCKETS = (
    "under 1 day",
    *(f"{low}-{high} days" for low, high in zip(BOUNDS, BOUNDS[1:], strict=False)),
    "over 14 days",
)
TASKS = {
    "mortality": (OUTCOMES, "died: in-hospital death by hospital_expire_flag"),
    "length-of-stay": (BUCKETS, "days from hour 48 after ICU admission until the end of the ICU stay"),
}
LICENSE = (
    "PhysioNet Credentialed Health Data License: for credentialed users under its data use agreement, not to "
    "be shared; cite Johnson et al., Scientific Data 10:1, 2023"
)
DEMO_LICENSE = "ODbL 1.0 (the open demo); cite Johnson et al., MIMIC-IV Demo, 2023, doi:10.13026/dp1f-ex47"


def schema(source: str | Path, *, task: str = "mortality", **_) -> dict:
    """Keyword arguments of `Manifest`: 48 patches of one hour, one sample each.

    `task` is "mortality" (in hospital) or "length-of-stay" (days in the ICU that remain after 48 h).
    """
    labels, rule = _labels(task)
    hourly = {"rate": 1 / 3600, "samples_per_patch": 1, "present": True}
    demo = (Path(source) / "demo_subject_id.csv").is_file()
    return {
        "dataset": DATASET,
        "version": _version(Path(source)),
        "modalities": [{"name": name, "unit": unit, **hourly} for name, (unit, *_) in VARIABLES.items()],
        "patch_seconds": 3600.0,
        "patches": HOURS,
        "labels": labels,
        "task": "single-label",
        "ordered": task == "length-of-stay",
        "label_rule": rule,
        "license": DEMO_LICENSE if demo else LICENSE,
    }


def index(source: str | Path, report: PreparationLog, *, task: str = "mortality", **_) -> pd.DataFrame:
    """One row per ICU stay of the cohort: record_id (stay_id), patient_id, split, site, labels, and
    subject_id, stay_id, intime, died.

    Kept are stays of at least 48 h with a known end, of adults, in admissions with one ICU stay, and
    without a transfer between units; a note has the count of each rule. Patients are split by
    `hash_splits`; `site` is the first care unit. A stay whose admission or patient is not there, or has
    no usable time, age or outcome, is left out.

    Raises DataError naming the table or the column that is missing.
    """
    labels, _rule = _labels(task)
    stays = _cohort(_stays(Path(source)), report)
    if task == "mortality":
        label = stays["died"].to_numpy()
    else:
        remaining = (stays["outtime"] - stays["intime"]) / pd.Timedelta(days=1) - HOURS / 24
        label = np.searchsorted(BOUNDS, remaining, side="right")
    for number, name in enumerate(labels):
        stays[name] = (label == number).astype(int)
    stays["record_id"], stays["patient_id"] = stays["stay_id"].astype(str), stays["subject_id"].astype(str)
    stays["split"] = stays["patient_id"].map(hash_splits(DATASET, stays["patient_id"]))
    stays["site"] = [_site(unit) for unit in stays["first_careunit"]]
    own = [name for name in ("subject_id", "stay_id", "intime", "died") if name not in labels]
    return stays[["record_id", "patient_id", "split", "site", *labels, *own]]


def read(
    source: str | Path,
    rows: pd.DataFrame,
    report: PreparationLog,
    *,
    chartevents: str | Path | None = None,
    **_,
) -> Iterator[np.ndarray | None]:
    """Last value of each hour, float32 (28 variables, 48 hours, 1), of each of `rows`.

    None for a stay without any event in its 48 h, the last rule of the cohort, which a note counts.
    `chartevents` is the path of that table where it is not in its place. All tables are read once, in
    chunks, before the first window is given. See `hourly_values`.
    """
    values = hourly_values(Path(source), rows, report, chartevents)
    empty = np.isnan(values).all(axis=(1, 2))
    report.note(
        f"Removed as nothing was measured in their first {HOURS} h: {empty.sum()} of {len(rows)} ICU stays, "
        f"{_leaving(rows[~empty])}."
    )
    for stay, nothing in zip(values, empty, strict=True):
        yield None if nothing else stay[:, :, None]


def download(out: str | Path, report: PreparationLog, **_) -> None:
    """Raises DataError, which says how to apply: this data set cannot be fetched without credentials."""
    raise DataError(
        "MIMIC-IV is not open: apply for credentialed access at PhysioNet, do the required training and sign "
        "the data use agreement (https://physionet.org/content/mimiciv/), then unpack it and give its folder "
        "as source"
    )


def _labels(task: str) -> tuple[tuple[str, ...], str]:
    if task not in TASKS:
        raise DataError(f'task "{task}" is unknown: choose {" or ".join(TASKS)}')
    return TASKS[task]


def _version(source: Path) -> str:
    """No file says the version; folders and columns tell releases apart, and the number of stays parts."""
    stays = len(read_table(source, "icustays", ["stay_id"]))
    if find_table(source, "patients").parent.name == "core":
        version = "1.0"
    elif (read_table(source, "patients", ["anchor_year_group"]) == "2020 - 2022").to_numpy().any():
        version = "3.0 or 3.1"
    elif "admit_provider_id" in columns_of(find_table(source, "admissions")):
        version = "2.2"
    else:
        version = "2.0 or 2.1"
    return f"{version}, {stays} ICU stays"


def _stays(source: Path) -> pd.DataFrame:
    """All ICU stays with what their admission and patient say; text, empty where something is missing."""
    stays = read_table(
        source,
        "icustays",
        ["subject_id", "hadm_id", "stay_id", "first_careunit", "last_careunit", "intime", "outtime"],
    )
    admissions = read_table(
        source, "admissions", ["subject_id", "hadm_id", "admittime", "hospital_expire_flag"]
    )
    patients = read_table(source, "patients", ["subject_id", "anchor_age", "anchor_year"])
    for table, key in ((stays, "stay_id"), (admissions, "hadm_id"), (patients, "subject_id")):
        twice = table[key][table[key].duplicated()]
        if len(twice):
            raise DataError(
                f"{source}: {key} {twice.iloc[0]} is there twice, with differences: fetch it anew"
            )
    return (
        stays.merge(admissions, on=["subject_id", "hadm_id"], how="left")
        .merge(patients, on="subject_id", how="left")
        .fillna("")
    )


def _usable(text: pd.DataFrame, report: PreparationLog) -> pd.DataFrame:
    """The stays with times, numbers and outcome in place of their text; others are left out."""
    stays = text.copy()
    for name in ("intime", "outtime", "admittime"):
        stays[name] = pd.to_datetime(text[name], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    stays["died"] = text["hospital_expire_flag"].map({"0": 0, "1": 1})
    for name in ("subject_id", "stay_id", "anchor_age", "anchor_year"):
        stays[name] = pd.to_numeric(text[name], errors="coerce")
    needed = {
        "subject_id": "a number as subject_id",
        "stay_id": "a number as stay_id",
        "intime": "an intime like 2150-01-31 12:00:00",
        "admittime": "an admission in admissions with an admittime like 2150-01-31 12:00:00",
        "died": "a hospital_expire_flag of 0 or 1",
        "anchor_age": "a patient in patients with an anchor_age",
        "anchor_year": "a patient in patients with an anchor_year",
    }
    usable = stays[list(needed)].notna()
    for row in np.flatnonzero(~usable.all(axis=1)):
        lacking = needed[usable.columns[np.argmin(usable.iloc[row])]]
        report.reject(DataError(f"ICU stay {text['stay_id'][row]} lacks {lacking}"))
    return stays[usable.all(axis=1)].astype({"subject_id": int, "stay_id": int, "died": int})


def _cohort(everything: pd.DataFrame, report: PreparationLog) -> pd.DataFrame:
    """The stays that all rules keep, with a note of how many each removed."""
    stays = _usable(everything, report)
    in_icu = (stays["outtime"] - stays["intime"]) / pd.Timedelta(hours=1)
    age = stays["anchor_age"] + stays["admittime"].dt.year - stays["anchor_year"]
    of_admission = everything.groupby("hadm_id")["stay_id"].transform("size")[stays.index]
    rules = {
        f"shorter than {HOURS} h or without a known end": in_icu >= HOURS,
        f"of patients under {ADULT}": age >= ADULT,
        "of admissions with more than one ICU stay": of_admission == 1,
        "with a transfer between units": stays["first_careunit"] == stays["last_careunit"],
    }
    steps = [f"{len(everything)} ICU stays of {everything['subject_id'].nunique()} patients"]
    if len(stays) < len(everything):
        steps.append(f"{len(everything) - len(stays)} cannot be used")
    kept = pd.Series(True, stays.index)
    for what, keeps in rules.items():
        removed = int((kept & ~keeps).sum())
        kept &= keeps
        steps.append(f"{removed} {what} removed, {_leaving(stays[kept])}")
    report.note("; ".join(steps) + ".")
    return stays[kept].reset_index(drop=True)


def _leaving(stays: pd.DataFrame) -> str:
    return f"leaving {len(stays)} ({stays['died'].sum()} died in hospital)"


def _site(unit: str) -> str:
    """A name for a folder: "micu" of "Medical Intensive Care Unit (MICU)"."""
    short = re.search(r"\(([^()]+)\)\s*$", unit)
    return re.sub(r"[^a-z0-9]+", "-", (short[1] if short else unit).lower()).strip("-")
