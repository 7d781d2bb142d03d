"""The settings of one hospital, which replace those of the agreed file where they may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data_partitions.description.complaints import Complaint, unknown_key
from data_partitions.description.section import fields_by_key, is_local, section_class
from data_partitions.description.sections import Description
from data_partitions.sentences import suggest


def check_local(table: Mapping[str, Any], local: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield the settings of a local file that it may not have, beside the agreed table."""
    for path, value in _settings(local):
        key, section = ".".join(path), section_class(Description, path[:-1])
        if path[0] in ("signals", "covariates") and len(path) > 1 and path[1] not in _below(table, path[:1]):
            yield _unknown_name(key, path[0].removesuffix("s"), path[1], _below(table, path[:1]))
        elif section_class(Description, path):
            continue  # a value in place of a section is refused when the whole is validated
        elif section is None or path[-1] not in fields_by_key(section):
            yield unknown_key(Description, path)
        elif not is_local(fields_by_key(section)[path[-1]]):
            yield Complaint(key, f"`{key}` is agreed between the hospitals: remove it from the local file")
        elif path == ("task", "columns") and isinstance(value, dict):  # names of labels are agreed
            labels = _below(table, path)
            yield from (
                _unknown_name(f"{key}.{name}", "label", name, labels) for name in value.keys() - labels
            )


def apply_local(table: Mapping[str, Any], local: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with the settings of a local one in place of its own.

    Files and annotations of another format are described by the local file alone.
    """
    table = dict(table)
    if "format" in _below(local, ("files",)):
        table.pop("files", None)
    if "from" in _below(local, ("annotations",)):
        annotations = _below(table, ("annotations",))
        table["annotations"] = {key: value for key, value in annotations.items() if key == "drop"}
    return _overlay(table, local)


def _overlay(table: Mapping[str, Any], local: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in local.items():
        is_nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if is_nested else value
    return merged


def _settings(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the value of each setting in a table of sections."""
    for key, value in table.items():
        below = (*path, key)
        has_sections = section_class(Description, below) or section_class(Description, (*below, ""))
        if isinstance(value, dict) and has_sections:
            yield from _settings(value, below)
        else:
            yield below, value


def _below(table: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the table at a path; empty where there is none."""
    for key in path:
        entry = table.get(key)
        table = entry if isinstance(entry, dict) else {}
    return table


def _unknown_name(key: str, kind: str, name: str, names: Mapping[str, Any]) -> Complaint:
    hint = suggest(name, names) or f": expected one of {', '.join(names)}"
    return Complaint(key, f'there is no {kind} "{name}" in the agreed file{hint}')
