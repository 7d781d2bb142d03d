"""Read `dataset.toml`: every problem of the file is one sentence with its line."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data_partitions.description.complaints import Complaint, complaints_of
from data_partitions.description.consistency import find_conflicts
from data_partitions.description.local_settings import apply_local, check_local
from data_partitions.description.sections import Description
from data_partitions.description.toml_lines import Place, nearest_place, read_toml
from data_partitions.errors import DataError
from data_partitions.sentences import suggest

MAX_PROBLEMS = 10
# Required settings of a hospital, which the agreed text does not have; they are never used to open files.
_PLACEHOLDERS: dict[str, dict[str, str]] = {
    "files": {"format": "csv", "path": "*"},
    "annotations": {"from": "csv"},
}


def read_description(path: str | Path, local: str | Path | None = None) -> Description:
    """Read the description of a data set.

    Parameters
    ----------
    path
        `dataset.toml`, on which the hospitals agree.
    local
        File with settings of one hospital, which replace those of `path`. It may only have settings that are
        marked as local. If it sets `files.format`, the section [files] of `path` does not count.

    Returns
    -------
    Description
        With the fields of `like` filled in.

    Raises
    ------
    DataError
        A file cannot be read, or is not valid; the message lists up to 10 problems, one in each line.
    """
    table, places = read_toml(Path(path))
    local_table: dict[str, Any] = {}
    if local is not None:
        local_table, local_places = read_toml(Path(local))
        places |= {key: place for key, place in local_places.items() if key}
    complaints, inherited = _fill_in_like(table)
    _refuse(complaints, places)
    _refuse(check_local(table, local_table), places)
    description = _build(apply_local(table, local_table), places, inherited)
    _refuse((c for c in find_conflicts(description) if c.key not in inherited), places)
    return description


def description_from_text(text: str, local: str | Path | None = None) -> Description:
    """Return the description of an agreed text, such as a model has, with defaults for what is local.

    Parameters
    ----------
    text
        Text from `Description.agreed_text`.
    local
        File with settings of the hospital, as in `read_description`.
    """
    table = tomllib.loads(text)
    places: dict[str, Place] = {}
    if local is not None:
        local_table, places = read_toml(Path(local))
        _refuse(check_local(table, local_table), places)
        table = apply_local(table, local_table)
    for section, settings in _PLACEHOLDERS.items():
        if section in table or section == "files":
            table[section] = {**settings, **table.get(section, {})}
    return _build(table, places)


def _build(table: dict[str, Any], places: dict[str, Place], inherited: Collection[str] = ()) -> Description:
    """Return the description in a table, if each setting is valid; those inherited are not named twice."""
    complaints = {
        key: Complaint(
            key, f'`{key}`: expected a number or a text in quotes, such as "True", got {str(value).lower()}'
        )
        for key, value in _booleans(table)
    }
    try:
        description = Description.model_validate(table, by_alias=True, by_name=False)
    except ValidationError as error:
        complaints = {c.key: c for c in complaints_of(error, Description)} | complaints
    _refuse((c for c in complaints.values() if c.key not in inherited), places)
    description._places.update(places)
    return description


def _refuse(complaints: Iterable[Complaint], places: Mapping[str, Place]) -> None:
    """Raise DataError with the complaints in the order of their lines, if there are any."""
    placed = sorted(
        dict.fromkeys((nearest_place(places, key), sentence) for key, sentence in complaints),
        key=lambda complaint: complaint[0] or Place("", 0),
    )
    if placed:
        sentences = [f"{place}: {sentence}" if place else sentence for place, sentence in placed]
        more = len(sentences) - MAX_PROBLEMS
        rest = [f"and {more} more problems"] if more > 0 else []
        raise DataError("\n".join([*sentences[:MAX_PROBLEMS], *rest]))


def _booleans(value: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the places of true and false, which no setting takes but which Python would read as 1 and 0."""
    if isinstance(value, bool):
        yield path, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _booleans(entry, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for entry in value:
            yield from _booleans(entry, path)


def _fill_in_like(table: dict[str, Any]) -> tuple[list[Complaint], set[str]]:
    """Replace `like` in each signal by the fields of the other signal.

    Returns
    -------
    tuple of list and set
        What is wrong with `like`, and the keys that were filled in.
    """
    signals = table.get("signals")
    if not isinstance(signals, dict):
        return [], set()
    complaints: list[Complaint] = []
    filled: dict[str, dict[str, Any]] = {}
    inherited_keys: set[str] = set()
    for name in signals:
        chain = [name]
        while isinstance(signals[chain[-1]], dict) and (other := signals[chain[-1]].get("like")):
            key = f"signals.{chain[-1]}.like"
            if not isinstance(other, str) or other not in signals:
                hint = suggest(str(other), signals) or f": expected one of {', '.join(signals)}"
                complaints.append(Complaint(key, f'there is no signal "{other}"{hint}'))
                break
            if other in chain:
                path = " is like ".join([*chain, other])
                complaints.append(Complaint(key, f"{path}: write out the fields of one of them"))
                break
            chain.append(other)
        else:
            if len(chain) > 1:
                inherited: dict[str, Any] = {}
                for link in reversed(chain[1:]):
                    inherited |= signals[link] if isinstance(signals[link], dict) else {}
                inherited.pop("channels", None)
                inherited_keys |= {f"signals.{name}.{key}" for key in inherited.keys() - signals[name].keys()}
                filled[name] = {k: v for k, v in (inherited | signals[name]).items() if k != "like"}
    signals.update(filled)
    return complaints, inherited_keys
