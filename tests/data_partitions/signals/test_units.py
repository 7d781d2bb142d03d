import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_partitions.signals.unit_spellings import COMMON_UNITS
from data_partitions.signals.units import UnitError, conversion, is_arbitrary, require_unit


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "factor"),
    [
        ("mV", "uV", 1000),
        ("µV", "mV", 0.001),
        ("μV", "uV", 1),  # the other micro of Unicode
        ("mv", "uV", 1000),
        ("MV", "mV", 1),
        ("mm Hg", "mmHg", 1),
        ("mm[Hg]", "kPa", 0.133322387415),
        ("cmH2O", "mmHg", 0.7355591352766806),
        ("bpm", "1/min", 1),
        ("BPM", "/min", 1),
        ("Hz", "bpm", 60),
        ("{beats}/min", "insp/min", 1),
        ("beats per minute", "breaths/min", 1),
        ("K/uL", "10^9/L", 1),
        ("10*3/uL", "1000/uL", 1),
        ("x10E3/uL", "10**9/L", 1),
        ("K/mcL", "cells/uL", 1000),
        ("m/uL", "10^12/L", 1),  # millions
        ("gm/dL", "g/L", 10),
        ("mg%", "mg/dL", 1),
        ("MG/DL", "mg/L", 10),
        ("mcg/kg/min", "mg/kg/h", 0.06),
        ("mIU/L", "U/L", 0.001),
        ("Units/L", "IU/L", 1),
        ("mEq/L", "mEq/mL", 0.001),
        ("mosm/kg", "mOsm/kg", 1),
        ("%", "fraction", 0.01),
        ("lb", "kg", 0.45359237),
        ("mL/min/1.73m2", "mL/min/m^2", 1 / 1.73),
        ("m.s-2", "m/s^2", 1),
        ("LPM", "mL/min", 1000),
        ("hrs", "min", 60),
    ],
)
def test_clinical_units_are_converted(from_unit, to_unit, factor):
    assert conversion(from_unit, to_unit) == (factor, 0)


@pytest.mark.parametrize("fahrenheit", ["degF", "°F", "F", "deg F", "[degF]"])
@pytest.mark.parametrize("celsius", ["degC", "°C", "C", "Cel"])
def test_temperatures_have_an_offset(fahrenheit, celsius):
    there = conversion(fahrenheit, celsius)
    np.testing.assert_allclose(there.apply(np.array([98.6, 32.0])), [37, 0], atol=1e-12)
    np.testing.assert_allclose(there.invert(np.array([37.0, 0.0])), [98.6, 32], atol=1e-12)


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "message"),
    [
        ("mmH", "mmHg", 'the unit "mmH" is not understood, did you mean "mmHg"?'),
        ("bananas", "mV", 'the unit "bananas" is not understood'),
        ("9**9**9**9", "mV", 'the unit "9**9**9**9" is not understood'),
        ("mV", "mmHg", '"mV" cannot be converted to "mmHg": expected a unit such as "mmHg"'),
        ("mEq/L", "mmol/L", "if it is 1, as of sodium, potassium, chloride or bicarbonate, give file-unit"),
        ("mg/dL", "mmol/L", 'give the factor as scale, and file-unit = "mmol/L"'),
        ("points", "fraction", "cannot be converted"),
        ("pH", "%", "cannot be converted"),
        ("0/1", "%", "cannot be converted"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(from_unit, to_unit, message):
    with pytest.raises(UnitError) as error:
        conversion(from_unit, to_unit)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("unit", ["", " ", "a.u.", "AU", "NU", "n/a", "adu"])
def test_arbitrary_units_state_nothing(unit):
    assert is_arbitrary(unit)
    assert not is_arbitrary("mV")


def test_all_common_units_are_understood():
    for unit in COMMON_UNITS:
        with pytest.raises(UnitError, match="cannot be converted"):
            conversion(unit, "candela")


def test_equal_units_need_no_pint():
    code = (
        "import sys; from data_partitions.signals.units import conversion; "
        "conversion('µV', 'uV'); conversion('flurbs', 'flurbs'); sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=16)
    | st.lists(st.sampled_from("mg uL / * ^ 2 9 e K % [ ] { . -1 10 °C x".split())).map("".join)
)
@example("#A")
def test_any_text_is_a_unit_or_one_sentence(text):
    try:
        converted = conversion(text, "mV")
    except UnitError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert np.isfinite(converted.factor)


@pytest.mark.parametrize(
    ("unit", "nearest"), [("miliV", "mV"), ("millivolts.", "mV"), ("mmHgg", "mmHg"), ("mikroV", "uV")]
)
def test_the_nearest_unit_is_by_symbol_or_name(unit, nearest):
    with pytest.raises(UnitError, match=f'did you mean "{nearest}"'):
        require_unit(unit)
