"""Parts of sentences: counted nouns, lists that are cut, texts of files, and the nearest right word."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAMES = 3  # of files or rows in a sentence
MAX_TEXT_CHARACTERS = 60


def count_noun(number: int, noun: str) -> str:
    """Write a number with its noun: "1 file", "3 files", "2 classes", "4 stays"."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "ch")):
        return f"{number} {noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}s"


def list_some(words: Iterable[object], most: int = MAX_NAMES) -> str:
    """Write the first words of a list: "a, b, c and 9 more"."""
    texts = list(map(str, words))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def quote_some(words: Iterable[object], most: int = 8) -> str:
    """Write the first words of a list in quotation marks."""
    return list_some((f'"{word}"' for word in words), most)


def join_words(words: Iterable[str], word: str = "and") -> str:
    """Write a whole list: "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} {word} {last}" if first else last


def shorten(text: object, most: int = MAX_TEXT_CHARACTERS) -> str:
    """Return the beginning of a text of a file, on one line, with single spaces."""
    start = str(text)[: 4 * most]  # of a text that may be gigantic
    words = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return words[:most] + ("..." if len(words) > most else "")


def quote(text: object) -> str:
    """Quote the beginning of a text of a file, on one line."""
    return f'"{shorten(text)}"'


def find_nearest(word: str, words: Iterable[str]) -> str:
    """Return the word that is spelt most like `word`, whatever its case and blanks; "" if none is near."""
    by_form = {_fold(other): other for other in words}
    nearest = get_close_matches(_fold(word), by_form, 1)
    return by_form[nearest[0]] if nearest else ""


def suggest(word: str, words: Iterable[str], mark: str = '"') -> str:
    """Return ': did you mean "..."?' with the nearest of the words, or ""."""
    nearest = find_nearest(word, words)
    return f": did you mean {mark}{nearest}{mark}?" if nearest else ""


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
