"""What is dropped while events are read: a count and the first example of each kind of fault."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun


class Drops:
    """Counts what is dropped, by what it is, such as "row", and the reason."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, noun: str, reason: str, count: int, example: str | Callable[[], str] = "") -> None:
        """Count drops. The note has the first example of a kind; a function is called for that alone."""
        if count <= 0:
            return
        kind = noun, reason
        self._counts[kind] += int(count)
        if kind not in self._examples and (text := example if isinstance(example, str) else example()):
            self._examples[kind] = text

    def describe(self) -> Iterator[str]:
        """Yield "REASON: 3 rows" for each kind, the most frequent first, with an example."""
        for (noun, reason), count in self._counts.most_common():
            example = self._examples.get((noun, reason))
            yield f"{reason}: {count_noun(count, noun)}{f' (first: {example})' if example else ''}"

    def export_state(self) -> list[list[Any]]:
        """Return the counts and examples in types of JSON."""
        return [[*kind, count, self._examples.get(kind, "")] for kind, count in self._counts.items()]

    def restore_state(self, state: list[list[Any]]) -> None:
        """Replace all counts and examples by exported ones."""
        self._counts = Counter({(noun, reason): count for noun, reason, count, _ in state})
        self._examples = {(noun, reason): example for noun, reason, _, example in state if example}

    def write_notes(self, log: PreparationLog) -> None:
        """Add one sentence for each kind to the notes of a preparation."""
        for sentence in self.describe():
            log.note(f"Dropped, {sentence}.")
