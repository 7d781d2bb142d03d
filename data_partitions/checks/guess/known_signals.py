"""Units and plausible ranges of common signals, by the names that files use for them."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from data_partitions.signals.units import UnitError, conversion


class KnownSignal(NamedTuple):
    """A common signal: its unit, and its lowest and highest plausible value in that unit."""

    unit: str
    low: float
    high: float


# Names without case, spaces and signs. The ranges exclude typing errors and sensor faults, not sick patients.
_SIGNALS = (
    ("hr heartrate pulse pulserate pr puls hf herzfrequenz", "bpm", 1, 350),
    (
        "sbp sysabp nisysabp sysbp systolicbp "
        "systolic noninvasivesystolic abpsys nbpsys nibpsys rrsys", "mmHg", 1, 375,
    ),
    (
        "dbp diasabp nidiasabp diasbp diastolicbp "
        "diastolic noninvasivediastolic abpdia nbpdia nibpdia rrdia", "mmHg", 1, 375,
    ),
    (
        "map nimap mbp meanbp "
        "meanabp noninvasivemean abpmean nbpmean nibpmean", "mmHg", 1, 330,
    ),
    ("resp rr resprate respiratoryrate respirationrate af", "1/min", 0, 120),
    ("spo2 sao2 o2sat oxygensaturation pulseox satO2", "%", 0, 100),
    ("temp temperature bodytemperature tempc", "degC", 25, 45),
    ("tempf", "degF", 77, 113),
    ("cvp", "mmHg", -20, 60),
    ("icp", "mmHg", -20, 120),
    ("etco2", "mmHg", 0, 150),
    ("gcs gcstotal", "points", 3, 15),
    ("glu glucose", "mg/dL", 10, 2000),
    ("ph", "pH", 6.3, 8.4),
    ("pco2 paco2", "mmHg", 1, 250),
    ("po2 pao2", "mmHg", 1, 760),
    ("be baseexcess", "mmol/L", -50, 50),
    ("lact lactate", "mmol/L", 0.1, 40),
    ("na sodium", "mmol/L", 80, 200),
    ("k potassium", "mmol/L", 1, 15),
    ("cl chloride", "mmol/L", 50, 180),
    ("hco3 bicar bicarbonate", "mmol/L", 1, 80),
    ("crea creatinine", "mg/dL", 0.1, 60),
    ("bun urea ureanitrogen", "mg/dL", 0, 300),
    ("bili bilirubin", "mg/dL", 0, 100),
    ("bilidir", "mg/dL", 0, 100),
    ("alb albumin", "g/dL", 0.5, 10),
    ("alp", "IU/L", 1, 5000),
    ("alt", "IU/L", 1, 20000),
    ("ast", "IU/L", 1, 30000),
    ("ck", "IU/L", 1, 300000),
    ("ckmb", "ng/mL", 0, 2000),
    ("crp", "mg/L", 0, 1000),
    ("hgb hb haemoglobin hemoglobin", "g/dL", 1, 30),
    ("hct haematocrit hematocrit", "%", 5, 75),
    ("wbc whitecells leukocytes", "1000/uL", 0, 1000),
    ("plt platelets", "1000/uL", 0, 3000),
    ("ptt", "s", 10, 300),
    ("inr inrpt", "1", 0.5, 25),
    ("fgn fibrinogen", "mg/dL", 10, 2000),
    ("mg magnesium", "mg/dL", 0.1, 20),
    ("ca calcium", "mg/dL", 1, 25),
    ("cai", "mmol/L", 0.2, 5),
    ("phos phosphate", "mg/dL", 0.1, 30),
    ("cholesterol", "mg/dL", 10, 1000),
    ("mch", "pg", 5, 70),
    ("mchc", "g/dL", 10, 60),
    ("mcv", "fL", 30, 180),
    ("methb", "%", 0, 100),
    ("bnd lymph neut", "%", 0, 100),
    ("tnt troponint", "ng/mL", 0, 200),
    ("troponini", "ng/mL", 0, 200),
    ("urine urineoutput", "mL", 0, 5000),
    ("weight", "kg", 0.3, 400),
    ("fio2", "fraction", 0.21, 1),
    ("mechvent", "0/1", 0, 1),
)  # fmt: skip
# The same in other usual units, for files whose values are outside the ranges above.
_ALTERNATIVES = (
    ("temp temperature bodytemperature", "degF", 77, 113),
    ("glu glucose", "mmol/L", 0.5, 110),
    ("crea creatinine", "umol/L", 9, 5300),
    ("bili bilirubin", "umol/L", 0, 1700),
    ("hgb hb haemoglobin hemoglobin", "g/L", 10, 300),
    ("alb albumin", "g/L", 5, 100),
    ("fio2", "%", 21, 100),
    ("pco2 paco2", "kPa", 0.1, 33),
    ("po2 pao2", "kPa", 0.1, 101),
    ("hct haematocrit hematocrit", "fraction", 0.05, 0.75),
)
_BY_NAME: dict[str, list[KnownSignal]] = {}
for _names, _unit, _low, _high in (*_SIGNALS, *_ALTERNATIVES):
    for _name in _names.casefold().split():
        _BY_NAME.setdefault(_name, []).append(KnownSignal(_unit, _low, _high))
_LEAD = re.compile(r"(ecg|ekg)?(i{1,3}|av[rlf]|v[1-9]r?|ml(i{1,3}|ii)|mv\d|cm\d|cc\d|d[1-3])")
ECG = KnownSignal("mV", -10, 10)


def find_known(name: str) -> list[KnownSignal]:
    """Return what is known of a signal by its name, the most usual unit first; none if nothing."""
    return _BY_NAME.get(plain_name(name), [])


def known_range(known: KnownSignal, unit: str) -> tuple[float, float] | None:
    """Return the plausible range of a signal in another unit; None if there is no conversion."""
    try:
        of_unit = conversion(known.unit, unit)
    except UnitError:
        return None
    low, high = of_unit.apply(np.array([known.low, known.high])).round(9).tolist()
    return low, high


def is_ecg_lead(name: str) -> bool:
    """Return whether a name is that of an ECG lead."""
    form = plain_name(name)
    return bool(_LEAD.fullmatch(form)) or form.startswith(("ecg", "ekg"))


def plain_name(name: str) -> str:
    """Return a name without case, spaces and signs."""
    return "".join(c for c in name.casefold() if c.isalnum())
