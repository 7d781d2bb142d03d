"""Clinical spellings of units, as expressions that pint reads."""

import re
from functools import lru_cache

# What files write where the values have no unit, or only an arbitrary one.
ARBITRARY_UNITS = {"", "a.u.", "au", "a.u", "arb", "arb.", "arbitrary", "adu", "nu", "n/a", "none", "?", "-"}

# Units that are no power or product of those that pint knows, in the syntax of its registry. Equivalents and
# osmoles are no moles: how many there are in a mole depends on the substance.
DEFINITIONS = (
    "equivalent = [equivalent] = Eq",
    "osmole = [osmole] = Osm",
    "point = [point] = points",
    "acidity = [acidity]",
    "flag = [flag]",
    "beat_per_minute = 1 / minute = bpm",
    "@alias enzyme_unit = IU = international_unit",
)

# Whole units whose characters would mean something else to pint: kelvin per µL, picohenry, coulomb, metre.
_WHOLE_UNITS = {
    "C": "degC",
    "F": "degF",
    "Cel": "degC",
    "[degF]": "degF",
    "deg C": "degC",
    "deg F": "degF",
    "Deg. C": "degC",
    "Deg. F": "degF",
    "pH": "acidity",
    "[pH]": "acidity",
    "0/1": "flag",
    "m/uL": "1e6/uL",
    "mg%": "mg/dL",
    "LPM": "L/min",
    "RPM": "1/min",
}
# Parts of a unit. Those with upper case letters count as written; the others in any case.
_SPELLINGS = {
    "1e3": "K thousand thou",
    "1e6": "M million mill",
    "percent": "% pct",
    "dimensionless": "fraction ratio",
    "count": "beats beat breaths breath br insp cells copies #",
    "cmH2O": "cmh20",
    "mOsm": "mosmol",
    "enzyme_unit": "unit units",
    "gram": "gm gms",
    "uL": "mcl",
    "lb": "lbs lb_av",
    "inch": "in_i",
    "degC": "celsius °c",
    "degF": "fahrenheit °f",
}
_IN_ANY_CASE = "bpm mmHg torr cmH2O mbar mEq mOsm mV uV mg mL dL mmol kohm ohm degC degF"
_PARTS = {unit.lower(): unit for unit in _IN_ANY_CASE.split()}
_PARTS |= {text: unit for unit, texts in _SPELLINGS.items() for text in texts.split()}
_PART = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e\d{1,2})?)?(?P<name>[A-Za-z°Ω#%_]*)(?:\^|\*\*)?(?P<power>(?<=\D)-?[1-3])?"
)
_SEPARATOR = re.compile(r"\s*([/*·]|(?<=[A-Za-z\d])[. ](?=[A-Za-z]))\s*")

# Units of which the nearest is suggested for one that is not understood.
COMMON_UNITS = (
    *("mV", "uV", "V", "mmHg", "kPa", "cmH2O", "mbar", "bpm", "1/min", "Hz", "%", "fraction", "degC", "degF"),
    *("kg", "g", "lb", "cm", "inch", "mL", "L", "mL/h", "L/min", "s", "ms", "min", "h", "pH", "0/1"),
    *("mg/dL", "g/dL", "g/L", "ug/L", "ng/mL", "ug/mL", "pg/mL", "mmol/L", "umol/L", "mEq/L", "mOsm/kg"),
    *("IU/L", "U/L", "mIU/L", "K/uL", "10^9/L", "10^6/uL", "fL", "pg", "ug/kg/min", "uS", "ohm", "points"),
)


@lru_cache(maxsize=1024)
def clean_unit(unit: str) -> str:
    """Write a unit with one letter for micro, one form of powers of ten, and no brackets or comments."""
    for written, plain in (("µ", "u"), ("μ", "u"), ("²", "2"), ("³", "3")):  # Unicode has two micros
        unit = unit.replace(written, plain)
    text = re.sub(r"\{[^}]*\}", "", unit).strip()
    text = re.sub(r"\s+per\s+", "/", text)
    text = re.sub(r"\bmcg\b", "ug", text)
    text = re.sub(r"\b(mm|cm)\s*\[?(Hg|H2O|H20)\]?", r"\1\2", text)
    return re.sub(r"(?:(?<![A-Za-z])[x×]\s*)?(?<![\d.])10\s*(?:\^|\*\*?|[eE])\s*(\d{1,2})", r"1e\1", text)


def to_expression(unit: str) -> str:
    """Write a unit, as `clean_unit` returns it, in the syntax of pint; ValueError if that cannot be done.

    No text of a file reaches pint but single names and small powers, as larger ones could take forever.
    """
    if unit in _WHOLE_UNITS:
        return _WHOLE_UNITS[unit]
    first, *others = _SEPARATOR.split(unit)
    factors = [_part_expression(first)] if first else []
    for sign, part in zip(others[::2], others[1::2], strict=True):
        factors.append(f"/ {_part_expression(part)}" if sign == "/" else f"* {_part_expression(part)}")
    return " ".join(factors if first else ["1", *factors])


def _part_expression(text: str) -> str:
    text = text.strip("[] ")
    if common := _PARTS.get(text) or _PARTS.get(text.lower()):
        return common
    part = _PART.fullmatch(text)
    if not part or not (part["number"] or part["name"]):
        raise ValueError(text)
    if not part["name"]:
        return part["number"]
    name = _PARTS.get(part["name"]) or _PARTS.get(part["name"].lower()) or part["name"]
    name = f"{name}**{part['power']}" if part["power"] else name
    return f"({part['number']} * {name})" if part["number"] else name
