"""Parse settings that are written as text, and describe invalid ones."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import PydanticCustomError


def parse_names(text: str) -> list[str]:
    """Return the names in a comma-separated list, such as "north, south"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def check_command(text: str) -> str:
    """Return a command line that starts with the absolute path of a program, or is empty.

    Raises
    ------
    PydanticCustomError
        It does not, or cannot be split into words.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise PydanticCustomError("command", f"must be a command line: {error}") from None
    if words and not words[0].startswith("/"):
        raise PydanticCustomError("command", "must start with the absolute path of a program")
    return text


def check_folder_name(text: str) -> str:
    """Return a name that a folder can have, or an empty one; PydanticCustomError for any other text."""
    if "/" in text or text in (".", "..") or not text.isprintable():
        raise PydanticCustomError("name", "must be the name of a folder, without /")
    return text


def parse_pairs(text: str) -> dict[str, str]:
    """Return {"a": "1", "b c": "x"} for "a=1 'b c=x'".

    Raises
    ------
    PydanticCustomError
        A part is not a pair, or a key occurs twice. The error is a ValueError whose message pydantic passes
        on unchanged.
    """
    pairs: dict[str, str] = {}
    try:
        parts = shlex.split(text)
    except ValueError:  # a quotation mark without another one
        parts = [""]
    for pair in parts:
        key, equals, value = pair.partition("=")
        if not (key and equals and value) or key in pairs:
            raise PydanticCustomError("pairs", "must be pairs such as 'first=0.1 second=0.2', each key once")
        pairs[key] = value
    return pairs


def parse_number(text: str) -> int | float | str:
    """Return the number that a text represents, or the text if it is not a number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_values(text: str) -> dict[str, int | float | str]:
    """Return {"a": 1, "b": "x"} for "a=1 b=x"; errors as in `parse_pairs`."""
    return {key: parse_number(value) for key, value in parse_pairs(text).items()}


def suggest_name(name: str, known: Iterable[str], list_all: bool = False) -> str:
    """Return the end of a message about an unknown name: " (did you mean 'x'?)" where one is similar.

    Otherwise "", or with `list_all` ": choose from x, y".
    """
    names = list(known)
    similar = get_close_matches(name, names, n=1, cutoff=0.4)
    if similar:
        return f" (did you mean '{similar[0]}'?)"
    return f": choose from {', '.join(names)}" if list_all else ""


def describe_error(error: Mapping[str, Any], noun: str, value: Any = None) -> str:
    """Return a sentence about one error of a pydantic ValidationError.

    Parameters
    ----------
    error : an entry of `ValidationError.errors()`
    noun : what its location is, such as "setting"
    value : the value that was given, where pydantic reports another one
    """
    location = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{noun} '{location}' is missing"
    message, received = error["msg"], error["input"] if value is None else value
    return f"{noun} '{location}': {message[0].lower()}{message[1:]}, got {received!r}"
