"""MIMIC-IV: the first 48 h of ICU stays by the hour (Johnson et al., Scientific Data 10:1, 2023).

The source is the unpacked data set, version 1.0, 2.x or 3.x: patients, admissions and labevents in `hosp/`
(in 1.0 the first two in `core/`), icustays, chartevents and outputevents in `icu/`, as .csv.gz or .csv.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_partitions.checkpoint import Checkpoint
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv.events import WINDOW_HOURS, find_event_tables, hourly_values
from data_partitions.sources.mimic_iv.items import VARIABLES
from data_partitions.sources.mimic_iv.tables import columns_of, find_table, read_table
from data_partitions.splits import hash_splits
from data_partitions.unfinished import hash_preparation

DATASET = "mimic-iv"
ADULT_YEARS = 18
OUTCOMES = ("survived", "died")
# Bounds of the buckets of remaining days in the ICU after hour 48; a bucket includes its lower bound.
BUCKET_BOUNDS_DAYS = (1, 2, 3, 4, 5, 6, 7, 8, 14)
BUCKETS = (
    "under 1 day",
    *(f"{low}-{high} days" for low, high in zip(BUCKET_BOUNDS_DAYS, BUCKET_BOUNDS_DAYS[1:], strict=False)),
    "over 14 days",
)
COVARIATES = (
    {"name": "age", "unit": "years", "groups": (45, 65, 80)},
    {"name": "sex", "categories": ("female", "male")},
)
REMAINING = "remaining stay"
STAY_RULE = "days from hour 48 after ICU admission until the end of the ICU stay"


class Outcome(NamedTuple):
    """What is predicted: kind of task, labels with their unit, and how they follow from the tables."""

    kind: str
    labels: tuple[str, ...]
    unit: str
    rule: str


TASKS = {
    "mortality": Outcome("single-label", OUTCOMES, "", "died: in-hospital death by hospital_expire_flag"),
    "length-of-stay": Outcome("ordinal", BUCKETS, "", STAY_RULE),
    "remaining-days": Outcome("regression", (REMAINING,), "days", STAY_RULE),
}
LICENSE = (
    "PhysioNet Credentialed Health Data License: for credentialed users under its data use agreement, not to "
    "be shared; cite Johnson et al., Scientific Data 10:1, 2023"
)
DEMO_LICENSE = "ODbL 1.0 (the open demo); cite Johnson et al., MIMIC-IV Demo, 2023, doi:10.13026/dp1f-ex47"


def schema(source: str | Path, *, task: str = "mortality", **_) -> dict:
    """Describe the data set: 48 patches of one hour with one sample each.

    `task` is "mortality" (in hospital), or the days in the ICU that remain after 48 h: "length-of-stay" in
    ten classes, "remaining-days" as a number.
    """
    outcome = _outcome(task)
    hourly = {"rate": 1 / 3600, "samples_per_patch": 1, "present": True}
    demo = (Path(source) / "demo_subject_id.csv").is_file()
    return {
        "dataset": DATASET,
        "version": _version(Path(source)),
        "modalities": [{"name": name, "unit": unit, **hourly} for name, (unit, *_) in VARIABLES.items()],
        "patch_seconds": 3600.0,
        "patches": WINDOW_HOURS,
        "labels": outcome.labels,
        "task": outcome.kind,
        "label_unit": outcome.unit,
        "label_range": (0, None) if outcome.kind == "regression" else (None, None),
        "label_rule": outcome.rule,
        "covariates": COVARIATES,
        "license": DEMO_LICENSE if demo else LICENSE,
    }


def index(source: str | Path, log: PreparationLog, *, task: str = "mortality", **_) -> pd.DataFrame:
    """List the ICU stays of the cohort: record_id (stay_id), patient_id, split, site, labels, covariates, and
    subject_id, stay_id, intime, died.

    The cohort has stays of at least 48 h with a known end, of adults, in admissions with one ICU stay, and
    without a transfer between units; a note counts what each rule removes. Patients are split by
    `hash_splits`; `site` is the first care unit. A stay is rejected if its admission or patient is missing,
    or has no usable time, age or outcome.

    Raises DataError that names the table or the column that is missing.
    """
    labels = _outcome(task).labels
    stays = _select_cohort(_read_stays(Path(source)), log)
    remaining = (stays["outtime"] - stays["intime"]).dt.total_seconds() / 86400 - WINDOW_HOURS / 24
    if task == "remaining-days":
        stays[REMAINING] = remaining
    else:
        bucket = np.searchsorted(BUCKET_BOUNDS_DAYS, remaining, side="right")
        label = stays["died"].to_numpy() if task == "mortality" else bucket
        for number, name in enumerate(labels):
            stays[name] = (label == number).astype(int)
    stays["record_id"], stays["patient_id"] = stays["stay_id"].astype(str), stays["subject_id"].astype(str)
    stays["split"] = stays["patient_id"].map(hash_splits(DATASET, stays["patient_id"]))
    stays["site"] = [_site_name(unit) for unit in stays["first_careunit"]]
    stays["covariate age"] = stays["age"]
    stays["covariate sex"] = stays["gender"].map({"F": "female", "M": "male"})  # else not recorded
    covariates = [f"covariate {covariate['name']}" for covariate in COVARIATES]
    extra = [name for name in ("subject_id", "stay_id", "intime", "died") if name not in labels]
    return stays[["record_id", "patient_id", "split", "site", *labels, *covariates, *extra]]


def read(
    source: str | Path,
    rows: pd.DataFrame,
    log: PreparationLog,
    *,
    chartevents: str | Path | None = None,
    checkpoint: Checkpoint | None = None,
    **_,
) -> Iterator[np.ndarray | None]:
    """Read the last value of each hour of each of `rows`: float32 (28 variables, 48 hours, 1).

    Yields None for a stay without any event in its 48 h. This is the last rule of the cohort, and a note
    counts the stays that it removes.
    `chartevents` is the file of that table, if it is not in its usual folder. All tables are read once, in
    chunks, before the first window is yielded. See `hourly_values`.
    """
    values = hourly_values(Path(source), rows, log, chartevents, checkpoint)
    empty = np.isnan(values).all(axis=(1, 2))
    log.note(
        f"Removed because nothing was measured in their first {WINDOW_HOURS} h: {empty.sum()} of "
        f"{len(rows)} ICU stays, {_describe_remaining(rows[~empty])}."
    )
    for stay, is_empty in zip(values, empty, strict=True):
        yield None if is_empty else stay[:, :, None]


def pass_key(source: str | Path, rows: pd.DataFrame, *, chartevents: str | Path | None = None, **_) -> str:
    """Return what makes an interrupted preparation the same; see `DatasetReader`."""
    return hash_preparation(DATASET, rows, find_event_tables(Path(source), chartevents).values())


def download(out: str | Path, log: PreparationLog, **_) -> None:
    """Raise DataError that says how to apply, because this data set needs credentials."""
    raise DataError(
        "MIMIC-IV is not open: apply for credentialed access at PhysioNet, do the required training and sign "
        "the data use agreement (https://physionet.org/content/mimiciv/), then unpack it and give its folder "
        "as source"
    )


def _outcome(task: str) -> Outcome:
    if task not in TASKS:
        raise DataError(f'task "{task}" is unknown: choose {", ".join(TASKS)}')
    return TASKS[task]


def _version(source: Path) -> str:
    """Infer the version, which no file states, from folders and columns, and add the number of stays."""
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


def _read_stays(source: Path) -> pd.DataFrame:
    """Read all ICU stays with their admissions and patients, as text, empty where something is missing."""
    stays = read_table(
        source,
        "icustays",
        ["subject_id", "hadm_id", "stay_id", "first_careunit", "last_careunit", "intime", "outtime"],
    )
    admissions = read_table(
        source, "admissions", ["subject_id", "hadm_id", "admittime", "hospital_expire_flag"]
    )
    patients = read_table(source, "patients", ["subject_id", "gender", "anchor_age", "anchor_year"])
    for table, key in ((stays, "stay_id"), (admissions, "hadm_id"), (patients, "subject_id")):
        repeated = table[key][table[key].duplicated()]
        if len(repeated):
            raise DataError(
                f"{source}: {key} {repeated.iloc[0]} appears twice, with differences: fetch it again"
            )
    return (
        stays.merge(admissions, on=["subject_id", "hadm_id"], how="left")
        .merge(patients, on="subject_id", how="left")
        .fillna("")
    )


def _parse_stays(text: pd.DataFrame, log: PreparationLog) -> pd.DataFrame:
    """Parse times, numbers and outcomes of the stays; reject stays in which one of them is invalid."""
    stays = text.copy()
    for name in ("intime", "outtime", "admittime"):
        stays[name] = pd.to_datetime(text[name], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    # Tables that went through pandas have 0.0 and 1.0, as cells of other rows were empty.
    stays["died"] = text["hospital_expire_flag"].map({"0": 0, "1": 1, "0.0": 0, "1.0": 1})
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
        missing = needed[usable.columns[int(np.argmin(usable.iloc[row]))]]
        log.reject(DataError(f"ICU stay {text['stay_id'][row]} is without {missing}"))
    return stays[usable.all(axis=1)].astype({"subject_id": int, "stay_id": int, "died": int})


def _select_cohort(all_stays: pd.DataFrame, log: PreparationLog) -> pd.DataFrame:
    """Select the stays that satisfy all rules, and note how many each rule removes."""
    stays = _parse_stays(all_stays, log)
    in_icu = (stays["outtime"] - stays["intime"]).dt.total_seconds() / 3600
    age = stays["age"] = stays["anchor_age"] + stays["admittime"].dt.year - stays["anchor_year"]
    of_admission = all_stays.groupby("hadm_id")["stay_id"].transform("size")[stays.index]
    rules = {
        f"shorter than {WINDOW_HOURS} h or without a known end": in_icu >= WINDOW_HOURS,
        f"of patients under {ADULT_YEARS}": age >= ADULT_YEARS,
        "of admissions with more than one ICU stay": of_admission == 1,
        "with a transfer between units": stays["first_careunit"] == stays["last_careunit"],
    }
    steps = [f"{len(all_stays)} ICU stays of {all_stays['subject_id'].nunique()} patients"]
    if len(stays) < len(all_stays):
        steps.append(f"{len(all_stays) - len(stays)} cannot be used")
    selected = pd.Series(True, stays.index)
    for reason, satisfied in rules.items():
        removed = int((selected & ~satisfied).sum())
        selected &= satisfied
        steps.append(f"{removed} {reason} removed, {_describe_remaining(stays[selected])}")
    log.note("; ".join(steps) + ".")
    return stays[selected].reset_index(drop=True)


def _describe_remaining(stays: pd.DataFrame) -> str:
    return f"leaving {len(stays)} ({stays['died'].sum()} died in hospital)"


def _site_name(unit: str) -> str:
    """Make a folder name from the name of a unit: "micu" from "Medical Intensive Care Unit (MICU)"."""
    short = re.search(r"\(([^()]+)\)\s*$", unit)
    return re.sub(r"[^a-z0-9]+", "-", (short[1] if short else unit).lower()).strip("-")
