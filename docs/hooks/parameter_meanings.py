"""Let the reference of Python take types from signatures, and meanings from docstrings.

The docstrings of this project write `name : meaning` in their sections, where numpydoc expects `name : type`.
For the reference, the meaning moves to the line below the name.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTIONS = r"(?:Parameters|Attributes)"
SECTION = re.compile(rf"^{SECTIONS}\n-+\n.*?(?=^\S[^\n]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"^(\w[\w, ]*) : (.*(?:\n[ \t]+\S.*)*)$", re.MULTILINE)


class ParameterMeanings(griffe.Extension):
    """Rewrite the sections of docstrings before they are read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = SECTION.sub(
                lambda section: ITEM.sub(_one_item_per_name, section[0]), obj.docstring.value
            )


def _one_item_per_name(item: re.Match[str]) -> str:
    """Return an item for each name, as names that share a meaning have types and defaults of their own."""
    return "\n".join(f"{name.strip()}\n    {item[2]}" for name in item[1].split(","))
