"""Codes of MEDS and names of variables, in which `*` stands for any text."""

import re
from collections.abc import Sequence


class Codes:
    """Finds the code that a text fits; in patterns, `*` stands for any text.

    Spaces at the ends and case do not matter, unless two codes differ in nothing else. Of two that fit, the
    one without `*` is taken, else the earlier one.
    """

    def __init__(self, codes: Sequence[str], patterns: bool = True):
        backwards = list(enumerate(codes))[::-1]
        self._position = {code: position for position, code in backwards}
        self._folded = {code.strip().casefold(): position for position, code in backwards}
        self._patterns = [
            (position, re.compile(re.escape(code).replace(r"\*", "(.*)"), re.DOTALL))
            for position, code in enumerate(codes)
            if patterns and "*" in code
        ]

    def find(self, text: str) -> int:
        """Return the position of the code, -1 if there is none."""
        for positions, key in ((self._position, text), (self._folded, text.strip().casefold())):
            if key in positions:
                return positions[key]
        return next((position for position, pattern in self._patterns if pattern.fullmatch(text)), -1)

    def read_star(self, text: str) -> str:
        """Return what the first `*` stands for; "" if the code has none."""
        matches = (pattern.fullmatch(text) for _, pattern in self._patterns)
        return next((match[1] for match in matches if match), "")
