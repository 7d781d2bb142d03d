"""What a preparation tells its user: progress on the way, and at the end what was left out and why."""

from collections.abc import Callable
from dataclasses import dataclass, field

from data_partitions.errors import DataError

# (what is being done, how much of it is done, of how much)
ProgressCallback = Callable[[str, float, float], None]


@dataclass
class PreparationLog:
    """`notes` are sentences about the whole, `bad` one sentence per record that could not be used.

    A record that cannot be used is left out and the rest goes on; with `strict` it stops the preparation.
    """

    strict: bool = False
    progress: ProgressCallback = lambda what, done, total: None
    notes: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def reject(self, error: DataError) -> None:
        """Count a record as bad; with `strict`, raise its error instead."""
        if self.strict:
            raise error
        self.bad.append(str(error))
