"""Names of columns that state a unit, such as "HR (bpm)" or "Temp [degC]"."""

from __future__ import annotations

import re

_NAME_AND_UNIT = re.compile(r"(.+?)\s*[(\[]([^)\]]*)[)\]]\s*")


def split_unit(name: str) -> tuple[str, str]:
    """Return the name of what a column holds, and the text in brackets after it; "" without brackets."""
    parts = _NAME_AND_UNIT.fullmatch(name)
    words, unit = parts.groups() if parts else (name, "")
    return " ".join(words.split()), unit
