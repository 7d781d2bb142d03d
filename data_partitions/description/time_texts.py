"""Texts of times in files: the columns that hold them, and clocks such as 26:10."""

from __future__ import annotations

import re

_FIELD = re.compile(r"\{([^{}]+)\}")
_CLOCK = re.compile(r"\s*(-?)(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?\s*")


def list_time_columns(time: str) -> list[str]:
    """Return the columns whose texts, joined by blanks, are the time of a row.

    Parameters
    ----------
    time
        Name of a column, or a pattern of columns such as "{date} {clock}"; "" for none.
    """
    names = _FIELD.findall(time) or [time]
    return [name.strip() for name in names if name.strip()]


def parse_clock(text: str) -> float | None:
    """Return the elapsed time of HH:MM or HH:MM:SS in s; None if the text is no such time."""
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    sign, hours, minutes, rest = clock.groups()
    seconds = 3600 * int(hours) + 60 * int(minutes) + float(rest or 0)
    return -seconds if sign else seconds
