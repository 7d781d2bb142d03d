"""The variables that are read from MIMIC-IV's events: their items, conversions and plausible ranges.

The first 17 variables are those of Harutyunyan et al., Scientific Data 6:96, 2019; frequent laboratory
values and urine follow.
"""

import numpy as np

# Variable: unit, lowest and highest plausible value. Values outside are errors, or not in the unit of their
# item; a height or weight of 0 is an empty form.
VARIABLES = {
    "heart rate": ("bpm", 0, 350),
    "systolic BP": ("mmHg", 0, 375),
    "diastolic BP": ("mmHg", 0, 375),
    "mean BP": ("mmHg", 14, 330),
    "respiratory rate": ("1/min", 0, 300),
    "oxygen saturation": ("%", 0, 100),
    "temperature": ("degC", 26, 45),
    "FiO2": ("fraction", 0.21, 1),
    "glucose": ("mg/dL", 33, 2000),
    "pH": ("pH", 6.3, 8.4),
    "GCS eye": ("points", 1, 4),
    "GCS verbal": ("points", 1, 5),
    "GCS motor": ("points", 1, 6),
    "GCS total": ("points", 3, 15),
    "height": ("cm", 1, 240),
    "weight": ("kg", 20, 400),
    "capillary refill": ("0/1", 0, 1),
    "creatinine": ("mg/dL", 0.1, 60),
    "urea nitrogen": ("mg/dL", 0, 300),
    "sodium": ("mEq/L", 80, 200),
    "potassium": ("mEq/L", 1, 15),
    "bicarbonate": ("mEq/L", 1, 80),
    "white cells": ("1000/uL", 0, 1000),
    "platelets": ("1000/uL", 0, 3000),
    "haemoglobin": ("g/dL", 1, 30),
    "lactate": ("mmol/L", 0.4, 30),
    "bilirubin": ("mg/dL", 0, 100),
    "urine": ("mL", 0, 5000),
}
GCS_PARTS = ("GCS eye", "GCS verbal", "GCS motor")

# Items of each variable in each table.
ITEMS: dict[str, dict[str, tuple[int, ...]]] = {
    "chartevents": {
        "heart rate": (220045,),
        "systolic BP": (220050, 225309, 220179),
        "diastolic BP": (220051, 225310, 220180),
        "mean BP": (220052, 225312, 220181),
        "respiratory rate": (220210, 224690, 224689, 224422),
        "oxygen saturation": (220277, 220227),
        "temperature": (223762, 223761),
        "FiO2": (223835,),
        "glucose": (220621, 226537, 225664),
        "pH": (223830, 220274),
        "GCS eye": (220739,),
        "GCS verbal": (223900,),
        "GCS motor": (223901,),
        "height": (226730, 226707),
        "weight": (224639, 226512, 226531),
        "capillary refill": (223951, 224308),
    },
    "outputevents": {"urine": (226559,)},
    "labevents": {
        "oxygen saturation": (50817,),
        "glucose": (50931, 50809),
        "pH": (50820,),
        "creatinine": (50912,),
        "urea nitrogen": (51006,),
        "sodium": (50983,),
        "potassium": (50971,),
        "bicarbonate": (50882,),
        "white cells": (51301,),
        "platelets": (51265,),
        "haemoglobin": (51222,),
        "lactate": (50813,),
        "bilirubin": (50885,),
    },
}
ARTERIAL_ITEMS = (220050, 225309, 220051, 225310, 220052, 225312)  # preferred to the cuff within an hour

CELSIUS = 223762
FAHRENHEIT = 223761
VERBAL_RESPONSE = 223900
CAPILLARY_REFILL = ITEMS["chartevents"]["capillary refill"]


def to_celsius(fahrenheit: np.ndarray) -> np.ndarray:
    """Convert from degrees Fahrenheit."""
    return (fahrenheit - 32) / 1.8


CONVERSIONS = {
    FAHRENHEIT: to_celsius,
    223835: lambda fio2: np.where(fio2 > 1, fio2 / 100, fio2),  # percent or fraction
    226707: lambda inch: inch * 2.54,
    226531: lambda pound: pound * 0.45359237,
}


def convert_values(item: np.ndarray, value: np.ndarray, text: np.ndarray | None = None) -> np.ndarray:
    """Convert values of events to the units of their variables.

    Two items need the charted text (bytes) rather than the number: capillary refill is 0 (normal), 1
    (abnormal) or -1 (anything else, outside the plausible range), and a verbal response that a tube prevents
    counts as 1.
    """
    value = value.copy()
    for code, convert in CONVERSIONS.items():
        of_item = item == code
        value[of_item] = convert(value[of_item])
    if text is None:
        return value
    refill = np.flatnonzero(np.isin(item, CAPILLARY_REFILL))
    answers = np.char.lower(text[refill])
    normal, abnormal = np.char.startswith(answers, b"normal"), np.char.startswith(answers, b"abnormal")
    value[refill] = np.select([normal, abnormal, answers == b""], [0, 1, np.nan], -1)
    verbal = np.flatnonzero(item == VERBAL_RESPONSE)
    value[verbal[text[verbal] == b"No Response-ETT"]] = 1
    return value
