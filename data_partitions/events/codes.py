"""Codes of MEDS and names of variables, in which `*` stands for any text."""

import re
from collections.abc import Sequence


class Codes:
    """Finds the code that a text fits.

    Parameters
    ----------
    codes
        Codes; of two that fit, the one without `*` is taken, else the earlier one.
    patterns
        Whether `*` stands for any text.
    """

    def __init__(self, codes: Sequence[str], patterns: bool = True):
        self._position = {code: position for position, code in reversed(list(enumerate(codes)))}
        self._patterns = [
            (position, re.compile(re.escape(code).replace(r"\*", "(.*)"), re.DOTALL))
            for position, code in enumerate(codes)
            if patterns and "*" in code
        ]

    def find(self, text: str) -> int:
        """Return the position of the code, -1 if there is none."""
        if text in self._position:
            return self._position[text]
        return next((position for position, pattern in self._patterns if pattern.fullmatch(text)), -1)

    def read_star(self, text: str) -> str:
        """Return what the first `*` stands for; "" if the code has none."""
        matches = (pattern.fullmatch(text) for _, pattern in self._patterns)
        return next((match[1] for match in matches if match), "")
