"""Durations as people write them: "10 s", "5 min", "24 h"."""

import re

SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def parse_seconds(text: object) -> float:
    """Return a duration in s; ValueError unless it is a number and a unit, such as "10 s"."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    parts = _DURATION.fullmatch(str(text))
    if parts is None or parts[2] not in SECONDS:
        raise ValueError(f'expected a duration such as "10 s", "5 min", "24 h" or "2 d", got "{text}"')
    return float(parts[1]) * SECONDS[parts[2]]
