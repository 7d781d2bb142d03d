"""What is dropped while events are read: a count and the first example of each kind of fault."""

from collections import Counter
from collections.abc import Callable

from data_partitions.preparation_log import PreparationLog

MAX_EXAMPLE_CHARACTERS = 60


class Drops:
    """Counts what is dropped, by kind; a kind is the words that follow the count in the note."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, kind: str, count: int, example: str | Callable[[], str] = "") -> None:
        """Count drops. The note has the first example of a kind; a function is called for that alone."""
        if count <= 0:
            return
        self.counts[kind] += int(count)
        if kind not in self._examples and (text := example if isinstance(example, str) else example()):
            self._examples[kind] = text

    def write_notes(self, log: PreparationLog) -> None:
        """Add one sentence for each kind to the notes of a preparation, the most frequent first."""
        for kind, count in self.counts.most_common():
            example = self._examples.get(kind)
            log.note(f"Dropped: {count} {kind}{f' (first: {example})' if example else ''}.")


def quote(text: object) -> str:
    """Quote the text of a cell, shortened, on one line."""
    return f'"{shorten(text)}"'


def shorten(text: object) -> str:
    """Return the beginning of a text, on one line."""
    words = "".join(c if c.isprintable() else " " for c in str(text))
    return words[:MAX_EXAMPLE_CHARACTERS] + ("..." if len(words) > MAX_EXAMPLE_CHARACTERS else "")
