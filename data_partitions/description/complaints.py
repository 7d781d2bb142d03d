"""Say in a sentence what is wrong with a value of `dataset.toml`, and what to write instead."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, NamedTuple

from pydantic import ValidationError

from data_partitions.description.reference import field_texts
from data_partitions.description.section import Section, fields_by_key, section_class
from data_partitions.sentences import join_words, suggest

MAX_VALUE_CHARACTERS = 60
# What a value must be, by the type of pydantic's error or the first word of it.
EXPECTATIONS = {
    "too_short": "at least one entry",
    "string_pattern_mismatch": "a name without / and \\ that does not start with a dot",
    "string": "a text in quotes",
    "float": "a number",
    "finite": "a finite number",
    "int": "a whole number",
    "tuple": "a list such as [40, 65]",
    "dict": 'a table { a = "b" }',
}
BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "of at least",
    "less_than": "below",
    "less_than_equal": "of at most",
}


class Complaint(NamedTuple):
    """What is wrong with the setting at a dotted key, as a sentence that does not name the file."""

    key: str
    sentence: str


def unknown_key(root: type[Section], path: tuple[str, ...]) -> Complaint:
    """Say that a section has no such key, with the nearest key that it has, or the sections that have it."""
    section = section_class(root, path[:-1]) or root
    keys, word = list(fields_by_key(section)), path[-1].replace("_", "-")
    owners = [
        f"[{name}]" if section_class(root, (name,)) else f"[{name}.NAME]"
        for name in fields_by_key(root)
        for candidate in (section_class(root, (name,)) or section_class(root, (name, "")),)
        if candidate is not None and word in fields_by_key(candidate)
    ]
    if word not in keys and owners:
        advice = f": it belongs to {' or '.join(owners)}"
    else:
        advice = suggest(word, keys, "`") or f": expected one of {', '.join(keys)}"
    return Complaint(".".join(path), f"unknown key `{path[-1]}`{_section_name(path)}{advice}")


def complaints_of(error: ValidationError, root: type[Section]) -> list[Complaint]:
    """Return what is wrong with each invalid setting, one complaint per key."""
    complaints: dict[str, Complaint] = {}
    for problem in error.errors():
        keys = takewhile(lambda part: isinstance(part, str) and part != "[key]", problem["loc"])
        path = tuple(map(str, keys))  # without positions in lists
        complaint = _complaint(root, path, dict(problem))
        complaints.setdefault(complaint.key, complaint)
    return list(complaints.values())


def _complaint(root: type[Section], path: tuple[str, ...], problem: dict[str, Any]) -> Complaint:
    kind, value = problem["type"], problem["input"]
    context = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(root, path)
    if kind == "missing":
        return _missing(root, path)
    if section_class(root, path) and kind in ("model_type", "model_attributes_type"):
        return Complaint(".".join(path), f"expected a section [{'.'.join(path)}], got {_show(value)}")
    key = ".".join(path)
    name = f"`{path[-1]}`{_section_name(path)}" if section_class(root, path[:-1]) else f"`{key}`"
    if kind == "value_error":
        return Complaint(key, f"{name}: {context['error']}")
    if kind == "literal_error":
        words = [word.strip(" '") for word in context["expected"].replace(" or ", ", ").split(", ")]
        quoted = [f'"{word}"' for word in words]
        hint = suggest(value, words) if isinstance(value, str) else ""
        return Complaint(key, f"{name}: expected {join_words(quoted, 'or')}, got {_show(value)}{hint}")
    return Complaint(
        key, f"{name}: expected {_expectation(kind, context, problem['msg'])}, got {_show(value)}"
    )


def _expectation(kind: str, context: dict[str, Any], message: str) -> str:
    """Return what a value must be, by the type of pydantic's error."""
    if kind in BOUNDS:
        return f"a number {BOUNDS[kind]} {next(iter(context.values())):g}"
    return EXPECTATIONS.get(kind) or EXPECTATIONS.get(kind.partition("_")[0]) or message


def _missing(root: type[Section], path: tuple[str, ...]) -> Complaint:
    section = section_class(root, path[:-1]) or root
    if nested := section_class(root, path) or section_class(root, (*path, "")):
        example = f"[{path[-1]}.NAME]" if section_class(root, path) is None else f"[{'.'.join(path)}]"
        required = [key for key, field in fields_by_key(nested).items() if field.is_required()]
        keys = f" with {' and '.join(f'`{key}`' for key in required)}" if required else ""
        return Complaint(".".join(path), f"the section {example} is missing: add it{keys}")
    meaning = field_texts(section).get(path[-1], "").partition(". ")[0].rstrip(".")
    return Complaint(
        ".".join(path),
        f"`{path[-1]}`{_section_name(path)} is missing: add {path[-1]} = ... ({meaning})",
    )


def _section_name(path: tuple[str, ...]) -> str:
    return f" in [{'.'.join(path[:-1])}]" if len(path) > 1 else ""


def _show(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + " ..."
