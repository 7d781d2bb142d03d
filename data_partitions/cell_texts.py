"""Texts of cells that mean the same: ids and labels become floats in some programs, as "9.0" for "9"."""

import re

_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


def normalise(text: str) -> str:
    """Return a text without blanks around it, and a whole number without its decimals: "007.0" is "007"."""
    text = text.strip()
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1] if number else text
