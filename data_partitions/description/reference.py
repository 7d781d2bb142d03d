"""The reference of `dataset.toml`, as Markdown from the docstrings of its sections."""

from __future__ import annotations

import inspect
import re

from data_partitions.description.section import Section


def field_texts(section: type[Section]) -> dict[str, str]:
    """Return what each key of a section means, from the section's docstring."""
    _, _, parameters = inspect.cleandoc(section.__doc__ or "").partition("Parameters\n----------\n")
    texts: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", parameters):
        names, _, text = entry.partition("\n")
        for name in names.split(","):
            texts[name.strip().replace("_", "-")] = " ".join(text.split())
    by_name = {name.replace("_", "-"): key for key, name in _names(section).items()}
    return {by_name.get(name, name): text for name, text in texts.items() if name}


def _names(section: type[Section]) -> dict[str, str]:
    return {field.alias or name: name for name, field in section.model_fields.items()}
