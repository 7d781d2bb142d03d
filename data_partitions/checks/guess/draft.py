"""The draft of a description: sections of keys with comments, written as TOML."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

HEADING = (
    "A draft by condi dataset guess: read every line, correct it, and then run\n"
    "condi dataset check dataset.toml --source FOLDER\n"
    "All keys are explained in condi dataset new FORMAT. The other hospitals must agree to this file."
)
COMMENT_WIDTH = 100
NO_UNIT = "a.u."  # arbitrary units, until the user gives the right one
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Setting = str | float | bool | list | tuple | Mapping


class Entry(NamedTuple):
    """A key of a section, or a comment alone (key "")."""

    key: str
    value: Setting
    comment: str


class Draft:
    """Sections in the order in which they are first written."""

    def __init__(self, heading: str = "") -> None:
        self._heading = heading
        self._sections: dict[str, list[Entry]] = {}

    def set(self, section: str, key: str, value: Setting, comment: str = "") -> None:
        """Write a key; a key that is there already gets the new value at its place."""
        entries = self._sections.setdefault(section, [])
        entry = Entry(key, value, comment)
        for i, other in enumerate(entries):
            if other.key == key:
                entries[i] = entry
                return
        entries.append(entry)

    def comment(self, section: str, sentence: str) -> None:
        """Write a comment at this place of a section."""
        self._sections.setdefault(section, []).append(Entry("", "", sentence))

    def rename_field(self, field: str, name: str) -> None:
        """Give a field in the pattern of the files another name, such as that of a column."""
        entries = self._sections["files"]
        for i, entry in enumerate(entries):
            if entry.key == "path":
                entries[i] = entry._replace(value=str(entry.value).replace(f"{{{field}}}", f"{{{name}}}"))

    def add(self, other: Draft) -> None:
        """Add the sections of another draft."""
        for section, entries in other._sections.items():
            self._sections.setdefault(section, []).extend(entries)

    def to_toml(self) -> str:
        """Write the draft."""
        parts = [_wrap_comment(self._heading)] if self._heading else []
        for name, entries in self._sections.items():
            lines = [f"[{name}]"]
            for entry in entries:
                if not entry.key:
                    lines.append(_wrap_comment(entry.comment))
                    continue
                line = f"{write_key(entry.key)} = {write_value(entry.value)}"
                if (
                    entry.comment.isprintable()
                    and entry.comment
                    and len(line + entry.comment) < COMMENT_WIDTH
                ):
                    line += f"  # {entry.comment}"
                elif entry.comment:
                    lines.append(_wrap_comment(entry.comment))
                lines.append(line)
            parts.append("\n".join(lines))
        return "\n\n".join(parts) + "\n"


def start_draft(source: Path) -> Draft:
    """Return a draft with the heading and `[dataset]`, which is named as the folder."""
    draft = Draft(HEADING)
    draft.set("dataset", "name", source.resolve().name.lstrip(".") or "dataset", "the name that reports show")
    draft.set("dataset", "version", "1")
    draft.set("dataset", "license", "", "terms under which the data are used")
    return draft


def section_name(*keys: str) -> str:
    """Return the name of a section below others, such as `signals."ECG 1"`."""
    return ".".join(map(write_key, keys))


def write_key(key: str) -> str:
    """Write a key, in quotation marks where it needs them."""
    return key if _BARE_KEY.fullmatch(key) else write_value(key)


def write_value(value: Setting) -> str:
    """Write a value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # TOML has no escape for the delete character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        inner = ", ".join(f"{write_key(str(key))} = {write_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    return f"{value:.15g}"


def _wrap_comment(text: str) -> str:
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return "\n".join(
        textwrap.fill(
            line, COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False
        )
        for line in printable.split("\n")
    )
