"""Generated tables with the names, columns and types of MIMIC-IV. Every stay is in the cohort.

Patients, values and times are drawn. More severely ill patients have a higher heart rate, a lower blood
pressure, more lactate and a higher mortality, so that a model can learn something.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

UNITS = (
    "Medical Intensive Care Unit (MICU)",
    "Surgical Intensive Care Unit (SICU)",
    "Cardiac Vascular Intensive Care Unit (CVICU)",
    "Neuro Stepdown",
)
YEARS = ["2014 - 2016", "2020 - 2022"]  # the second from version 3.0 on

# Item: unit, mean, deviation between and within patients, effect of severity, digits, share of hours charted.
CHARTED = {
    220045: ("bpm", 84, 12, 6, 9, 0, 0.9),
    220050: ("mmHg", 118, 12, 9, -9, 0, 0.3),
    220051: ("mmHg", 60, 7, 5, -5, 0, 0.3),
    220052: ("mmHg", 78, 8, 6, -6, 0, 0.3),
    220179: ("mmHg", 119, 14, 10, -9, 0, 0.7),
    220180: ("mmHg", 63, 9, 7, -5, 0, 0.7),
    220181: ("mmHg", 77, 10, 8, -6, 0, 0.7),
    220210: ("insp/min", 19, 3, 3, 3, 0, 0.9),
    220277: ("%", 96, 1, 1, -1, 0, 0.9),
    223761: ("°F", 98.6, 0.6, 0.5, 0.5, 1, 0.25),
    223835: ("", 45, 8, 6, 6, 0, 0.15),
    225664: ("", 140, 30, 20, 12, 0, 0.2),
    226531: ("", 178, 35, 0, 0, 1, 0.01),
    226730: ("cm", 169, 9, 0, 0, 0, 0.01),
}
# Item: charted texts, from the worst to the best. Except for refill, the number is the rank, from 1.
SCORED = {
    220739: ("None", "To Pain", "To Speech", "Spontaneously"),
    223900: ("No Response", "Incomprehensible sounds", "Inappropriate Words", "Confused", "Oriented"),
    223901: (
        "No response",
        "Abnormal extension",
        "Abnormal Flexion",
        "Flex-withdraws",
        "Localizes Pain",
        "Obeys Commands",
    ),
    223951: ("Abnormal >3 Seconds", "Normal <3 Seconds"),
}
TESTED = {
    50912: ("mg/dL", 1.2, 0.4, 0.1, 0.4, 1, 0.08),
    51006: ("mg/dL", 24, 8, 2, 6, 0, 0.08),
    50983: ("mEq/L", 138, 3, 1, 0, 0, 0.08),
    50971: ("mEq/L", 4.2, 0.4, 0.2, 0.1, 1, 0.08),
    50882: ("mEq/L", 24, 3, 1, -2, 0, 0.08),
    51301: ("K/uL", 11, 4, 1, 2, 1, 0.06),
    51265: ("K/uL", 210, 70, 8, -20, 0, 0.06),
    51222: ("g/dL", 10, 1.5, 0.3, -0.4, 1, 0.06),
    50813: ("mmol/L", 2, 0.6, 0.3, 0.8, 1, 0.05),
    50820: ("units", 7.37, 0.04, 0.03, -0.02, 2, 0.05),
    50885: ("mg/dL", 1, 0.5, 0.1, 0.3, 1, 0.02),
    50931: ("mg/dL", 140, 30, 15, 12, 0, 0.08),
}
URINE = {226559: ("ml", 90, 30, 40, -20, 0, 0.6)}
UNUSED_ITEMS = np.arange(227000, 227400)  # items that the reader ignores

COLUMNS = {
    "patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id "
    "admission_location discharge_location insurance language marital_status race edregtime edouttime "
    "hospital_expire_flag",
    "icustays": "subject_id hadm_id stay_id first_careunit last_careunit intime outtime los",
    "chartevents": "subject_id hadm_id stay_id caregiver_id charttime storetime itemid value valuenum "
    "valueuom warning",
    "labevents": "labevent_id subject_id hadm_id specimen_id itemid order_provider_id charttime storetime "
    "value valuenum valueuom ref_range_lower ref_range_upper flag priority comments",
    "outputevents": "subject_id hadm_id stay_id caregiver_id charttime storetime itemid value valueuom",
}
NEW_IN_2_2 = ("admit_provider_id", "order_provider_id", "caregiver_id")


def make_tables(
    stays: int = 40,
    seed: int = 0,
    *,
    version: str = "3.1",
    hours: int = 72,
    unused: int = 30,
    first: int = 0,
) -> dict[str, pd.DataFrame]:
    """Make tables, by name.

    `version` is "1.0", "2.0", "2.2" or "3.1", `hours` the time during which events are charted, `unused` the
    number of further chartevents per stay with items that the reader ignores, and `first` the first id, for
    tables that are made in several parts.
    """
    rng = np.random.default_rng([seed, first])
    number = np.arange(first, first + stays)
    severity = rng.normal(0, 1, stays)
    died = (rng.random(stays) < 1 / (1 + np.exp(2.6 - 1.5 * severity))).astype(int)
    intime = np.datetime64("2150-01-01T00:00:00") + rng.integers(0, 10**9, stays).astype("m8[s]")
    length = (hours * 3600 + rng.exponential(3 * 86400, stays)).astype("m8[s]")
    ids = {"subject_id": 10**7 + number, "hadm_id": 2 * 10**7 + number, "stay_id": 3 * 10**7 + number}
    admitted, year = intime - np.timedelta64(5, "h"), intime.astype("M8[Y]").astype(int) + 1970
    unit = rng.choice(UNITS, stays)
    drawn = {
        "patients": {
            "gender": rng.choice(["F", "M"], stays),
            "anchor_age": rng.integers(20, 90, stays),
            "anchor_year": year,
            "anchor_year_group": rng.choice(YEARS if version == "3.1" else YEARS[:1] * 2, stays),
        },
        "admissions": {
            "admittime": admitted,
            "dischtime": intime + length,
            "deathtime": np.where(died, intime + length, np.datetime64("NaT")),
            "admission_type": "EW EMER.",
            "hospital_expire_flag": died,
        },
        "icustays": {
            "first_careunit": unit,
            "last_careunit": unit,
            "intime": intime,
            "outtime": intime + length,
            "los": length / np.timedelta64(1, "D"),
        },
    }
    tables = {name: pd.DataFrame({**ids, **columns}) for name, columns in drawn.items()}
    for name, items in (("chartevents", CHARTED), ("labevents", TESTED), ("outputevents", URINE)):
        # The measurements in an hour of a stay are charted at the same time.
        minute = 60 * np.arange(hours) + rng.integers(0, 60, (stays, hours))
        parts = [_draw_measurements(rng, severity, minute, item, *about) for item, about in items.items()]
        if name == "chartevents":
            scored = rng.random((stays, hours)) < 0.25
            parts += [
                _draw_scores(rng, severity, minute, scored, item, texts) for item, texts in SCORED.items()
            ]
            parts.append(_draw_unused_events(rng, stays, hours, unused))
        tables[name] = _events(parts, ids, intime)
    tables["outputevents"]["value"] = tables["outputevents"]["valuenum"]
    for name, columns in COLUMNS.items():
        present = [c for c in columns.split() if version in ("2.2", "3.1") or c not in NEW_IN_2_2]
        tables[name] = tables[name].reindex(columns=present)
    return tables


def write_tables(
    folder: str | Path,
    tables: dict[str, pd.DataFrame] | None = None,
    *,
    stays: int = 40,
    seed: int = 0,
    version: str = "3.1",
    gz: bool = True,
    excluded: Sequence[str] = (),
) -> Path:
    """Write `tables`, or tables of `stays` and `seed`, in the layout of a version; return the folder."""
    tables = make_tables(stays, seed, version=version) if tables is None else tables
    for name, table in tables.items():
        if name not in excluded:
            file = table_path(folder, name, version, gz)
            file.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(
                file, index=False, compression={"method": "gzip", "compresslevel": 1} if gz else None
            )
    return Path(folder)


def table_path(folder: str | Path, name: str, version: str = "3.1", gz: bool = True) -> Path:
    module = "icu" if name in ("icustays", "chartevents", "outputevents") else "hosp"
    if version == "1.0" and name in ("patients", "admissions"):
        module = "core"
    return Path(folder) / module / (f"{name}.csv.gz" if gz else f"{name}.csv")


def _draw_measurements(
    rng, severity, minute, item, unit, mean, between, within, effect, digits, share
) -> pd.DataFrame:
    """Draw measurements: stay (a number from 0), minute, itemid, value, valuenum, valueuom."""
    level = mean + effect * severity + between * rng.normal(0, 1, len(severity))
    noise = rng.normal(0, 1, minute.shape)
    for hour in range(1, minute.shape[1]):
        noise[:, hour] = 0.9 * noise[:, hour - 1] + np.sqrt(1 - 0.9**2) * noise[:, hour]
    values = np.round(np.maximum(level[:, None] + within * noise, 0.5), digits)
    if unit == "%":
        values = np.minimum(values, 100)
    stay, hour = np.nonzero(rng.random(values.shape) < share)
    value = values[stay, hour]
    return pd.DataFrame(
        {
            "stay": stay,
            "minute": minute[stay, hour],
            "itemid": item,
            "value": value.astype(str),
            "valuenum": value,
            "valueuom": unit,
        }
    )


def _draw_scores(rng, severity, minute, scored, item, texts) -> pd.DataFrame:
    stay = np.nonzero(scored)[0]
    rank = (len(texts) - np.abs(rng.normal(severity[stay], 1))).astype(int).clip(0, len(texts) - 1)
    number = np.full(len(rank), np.nan) if len(texts) == 2 else rank + 1.0
    return pd.DataFrame(
        {
            "stay": stay,
            "minute": minute[scored],
            "itemid": item,
            "value": np.array(texts)[rank],
            "valuenum": number,
        }
    )


def _draw_unused_events(rng, stays, hours, per_stay) -> pd.DataFrame:
    stay = np.repeat(np.arange(stays), per_stay)
    text = rng.choice(["Done", "Not applicable", "Yes, with some help", "12"], len(stay))
    minute, item = rng.integers(0, 60 * hours, len(stay)), rng.choice(UNUSED_ITEMS, len(stay))
    return pd.DataFrame({"stay": stay, "minute": minute, "itemid": item, "value": text})


def _events(parts: list[pd.DataFrame], ids: dict[str, np.ndarray], intime: np.ndarray) -> pd.DataFrame:
    table = pd.concat(parts).sort_values(["stay", "minute"], kind="stable", ignore_index=True)
    stay = table["stay"].to_numpy()
    time = intime[stay] + table["minute"].to_numpy().astype("m8[m]")
    table = table.assign(**{name: of_stay[stay] for name, of_stay in ids.items()}, charttime=time)
    table["storetime"] = time + np.timedelta64(3, "m")
    table["caregiver_id"], table["warning"] = 10_000 + stay % 999, 0
    table["labevent_id"] = table["specimen_id"] = np.arange(len(table)) + 10**8
    return table
