"""The agreed text of a description: what must be the same at all hospitals, in one way of writing.

It is TOML with one line for each setting that is not the default, so that settings which are added later do
not change the text of descriptions that do not use them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_partitions.description.durations import format_number
from data_partitions.description.patches import plan_patches
from data_partitions.description.section import fields_by_key, is_local, section_class

if TYPE_CHECKING:
    from data_partitions.description.sections import Description

MAX_VALUE_CHARACTERS = 80
MAX_LISTED_SETTINGS = 3  # of those that differ


def write_agreed_text(description: Description) -> str:
    """Write the agreed settings of a description, one line each, in the order of the sections.

    The patch is written as the length that was chosen, and `columns` as the names of its labels.
    """
    settings = _settings_of(description)
    return "".join(f"{_key(path)} = {_value(value)}\n" for path, value in settings)


def find_agreed_lines(description: Description) -> tuple[int, ...]:
    """Return, for each line of the agreed text, the line of the file where it is from; () without a file.

    That of a setting that the file does not have is the line of its section.
    """
    places = [description.find_place(".".join(path)) for path, _ in _settings_of(description)]
    return tuple(place.line if place else 0 for place in places) if any(places) else ()


def _settings_of(description: Description) -> list[tuple[tuple[str, ...], Any]]:
    """Return the path and the value of each agreed setting that is not the default."""
    window = description.window
    stride = None if window.stride == window.length else window.stride
    window = window.model_copy(update={"patch": plan_patches(description).seconds, "stride": stride})
    settings = description.model_copy(update={"window": window}).model_dump(
        by_alias=True, exclude_defaults=True
    )
    return list(_agreed_settings(description, settings))


def describe_difference(text: str, expected: str, lines: Sequence[int] = ()) -> str:
    """Describe where an agreed text differs from that of others; "" where it does not.

    Parameters
    ----------
    text, expected
        The agreed texts.
    lines
        For each line of `text`, the line of the file where it is from, if that is known.

    Returns
    -------
    str
        Such as "line 17, `signals.CC5.range`: [-10, 10], expected [-5, 5]", for up to `MAX_LISTED_SETTINGS`
        settings, and the number of the others.
    """
    settings, expected_settings = _settings(text), _settings(expected)
    keys = list(dict.fromkeys([*expected_settings, *settings]))
    different = [key for key in keys if settings.get(key) != expected_settings.get(key)]
    if not different:
        return (
            ""
            if list(settings) == list(expected_settings)
            else _order_difference(settings, expected_settings)
        )
    line_of = {key: line for key, line in zip(settings, lines, strict=False) if line}
    parts = []
    for key in different[:MAX_LISTED_SETTINGS]:
        value, expected_value = (_shorten(v.get(key, "the default")) for v in (settings, expected_settings))
        place = f"line {line_of[key]}, " if key in line_of else ""
        parts.append(f"{place}`{_shorten(key)}`: {value}, expected {expected_value}")
    more = len(different) - len(parts)
    others = f", and {more} more setting{'s' if more > 1 else ''}" if more else ""
    return "; ".join(parts) + others


def _shorten(value: str) -> str:
    """Return a value of another site as a part of a sentence."""
    text = "".join(c if c.isprintable() else "?" for c in value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + " ..."


def _order_difference(settings: Mapping[str, str], expected: Mapping[str, str]) -> str:
    key, expected_key = next((k, e) for k, e in zip(settings, expected, strict=True) if k != e)
    return f"the order of its settings: `{_shorten(key)}`, expected `{_shorten(expected_key)}`"


def _settings(text: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in text.splitlines() if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


def _agreed_settings(
    description: Description, settings: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the settings at a path that all hospitals have alike."""
    section = section_class(type(description), path)
    fields = fields_by_key(section) if section else {}
    for key, value in settings.items():
        if path == ("task",) and key == "columns":  # names of labels; the columns are a hospital's own
            yield from (((*path, key, name), name) for name in value)
        elif key in fields and is_local(fields[key]):
            continue
        elif isinstance(value, dict):
            yield from _agreed_settings(description, value, (*path, key))
        else:
            yield (*path, key), value


def _key(path: tuple[str, ...]) -> str:
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else _quote(part) for part in path)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _quote(value) if isinstance(value, str) else format_number(value)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
