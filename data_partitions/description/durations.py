"""Durations as people write them: "10 s", "5 min", "24 h"."""

import re
from decimal import Decimal

SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def parse_seconds(text: object) -> float:
    """Return a duration in s; ValueError unless it is a text of a number and a unit, such as "10 s"."""
    parts = _DURATION.fullmatch(str(text))
    if parts is None or parts[2] not in SECONDS:
        raise ValueError(f'expected a duration such as "10 s", "5 min", "24 h" or "2 d", got "{text}"')
    return float(parts[1]) * SECONDS[parts[2]]


def format_number(number: float) -> str:
    """Write a number in the one way that equal numbers have: 250, 0.1, 0.00001."""
    text = f"{Decimal(repr(float(number))):f}"
    return text.removesuffix(".0")


def format_seconds(seconds: float) -> str:
    """Write a duration in the largest unit of which it is a whole multiple: "10 s", "5 min", "1 h"."""
    for unit in ("h", "min", "s", "ms"):
        multiple = seconds / SECONDS[unit]
        if abs(multiple - round(multiple)) < 1e-9 and multiple >= 1:
            return f"{round(multiple)} {unit}"
    return f"{format_number(seconds)} s"


def format_approximately(seconds: float) -> str:
    """Write a duration with three digits, for readers: "60 h", "1.5 min", "1420 h"."""
    unit = next((unit for unit in ("h", "min") if seconds >= SECONDS[unit]), "s")
    number = seconds / SECONDS[unit]
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
