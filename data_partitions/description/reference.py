"""The meaning of each key of `dataset.toml`, and the reference of all keys, from the sections' docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from data_partitions.description.durations import format_number
from data_partitions.description.section import Section, fields_by_key, is_local, section_class


def field_texts(section: type[Section]) -> dict[str, str]:
    """Return what each key of a section means, from the section's docstring."""
    _, _, parameters = inspect.cleandoc(section.__doc__ or "").partition("Parameters\n----------\n")
    entries = (entry.partition("\n") for entry in re.split(r"\n(?=\S)", parameters))
    texts = {name: " ".join(text.split()) for name, _, text in entries}
    return {field.alias or name: texts[name] for name, field in section.model_fields.items() if name in texts}


def write_reference(root: type[Section]) -> str:
    """Write a table of the keys of each section below `root`, as Markdown."""
    return "\n".join(map(_write_section, _sections_below(root)))


def _sections_below(root: type[Section]) -> Iterator[type[Section]]:
    for key in fields_by_key(root):
        section = section_class(root, (key,)) or section_class(root, (key, ""))
        if section is not None:
            yield section
            yield from _sections_below(section)


def _write_section(section: type[Section]) -> str:
    title = inspect.cleandoc(section.__doc__ or "").partition("\n")[0]
    texts = field_texts(section)
    rows = [
        f"| `{key}` | {texts[key]} | {_default(field)} | {'local' if is_local(field) else 'agreed'} |"
        for key, field in fields_by_key(section).items()
    ]
    head = ["| key | meaning | default | who decides |", "|---|---|---|---|"]
    return "\n".join([title, "", *head, *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default in ("", None, (), {}) else f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else format_number(value)
