"""Parse TOML and remember the line of each key, which `tomllib` does not say."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data_partitions.errors import DataError


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


_POSITION = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_toml(path: Path) -> tuple[dict[str, Any], dict[str, Place]]:
    """Read a TOML file of UTF-8 text.

    Returns
    -------
    tuple of dict
        Its table, and the place of each key by its dotted path; that of the file by "".

    Raises
    ------
    DataError
        The file cannot be read, or is not valid TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: condi dataset new writes a template") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        number = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {number}: expected text in UTF-8: save the file as UTF-8") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.match(str(error))
        reason = position[1] if position else str(error)
        line = int(position[2]) if position and position[2] else len(text.splitlines())
        raise DataError(f"{path}, line {line}: {_explain(reason, text, line)}") from None
    return table, {"": Place(str(path), 1)} | {key: Place(str(path), n) for key, n in _key_lines(text)}


def nearest_place(places: Mapping[str, Place], key: str) -> Place | None:
    """Return the place of a key, or of the innermost section around it that the file has."""
    while key and key not in places:
        key = key.rpartition(".")[0]
    return places.get(key)


def _explain(reason: str, text: str, line: int) -> str:
    """Say what is wrong with a line that is not TOML."""
    written = text.splitlines()[line - 1].strip() if text.splitlines() else ""
    if reason.startswith("Cannot declare") or reason.startswith("Cannot overwrite"):
        return f"`{written}` is in the file twice: remove one of them"
    if reason.startswith("Invalid value"):
        return f"expected a text in quotes, a number or a list after =, got `{written}`"
    return f"it is not valid TOML: {reason[0].lower()}{reason[1:]}, in `{written}`"


def _key_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield the dotted path of each key of valid TOML with its line."""
    section: tuple[str, ...] = ()
    statement, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if statement else number
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # a list or a text over several lines
        is_header = statement.lstrip().startswith("[")
        statement = ""
        if is_header:
            section = next(_paths(parsed, deepest=True))
            yield ".".join(section), start
        else:
            yield from ((".".join((*section, *path)), start) for path in _paths(parsed))


def _paths(table: Any, deepest: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key in a table, or of the deepest alone."""
    table = table[0] if isinstance(table, list) and table and isinstance(table[0], dict) else table
    for key, value in table.items() if isinstance(table, dict) else ():
        below = list(_paths(value, deepest))
        if not (deepest and below):
            yield (key,)
        yield from ((key, *path) for path in below)
