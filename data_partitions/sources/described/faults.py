"""Sentences about a description that does not fit the files: its line, and the nearest right word."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from data_partitions.description.sections import Description
from data_partitions.errors import DataError


class DescriptionError(DataError):
    """The setting `key` of a description does not fit the files; `sentence` has neither key nor line."""

    def __init__(self, place: str, key: str, sentence: str) -> None:
        super().__init__(f"{place}: {key}: {sentence}")
        self.key = key
        self.sentence = sentence


def description_error(description: Description, key: str, sentence: str) -> DescriptionError:
    """Return the error that names the setting `key`, such as "task.classes", and its line in the file."""
    return DescriptionError(description.place(key) or "the description", key, sentence)


def find_nearest(word: str, words: Iterable[str]) -> str:
    """Return the word that is spelt most like `word`; "" if none is near."""
    by_folded = {other.strip().casefold(): other for other in words}
    nearest = get_close_matches(word.strip().casefold(), by_folded, 1)
    return by_folded[nearest[0]] if nearest else ""


def suggest(word: str, words: Iterable[str]) -> str:
    """Return "; did you mean "..."?" with the nearest of the words, or ""."""
    nearest = find_nearest(word, words)
    return f'; did you mean "{nearest}"?' if nearest else ""


def quote_some(words: Iterable[str], most: int = 8) -> str:
    """Return words in quotation marks, the first few of them."""
    words = list(words)
    quoted = ", ".join(f'"{word}"' for word in words[:most])
    return f"{quoted} and {len(words) - most} more" if len(words) > most else quoted
