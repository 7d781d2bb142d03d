"""The report of a preparation: its progress, and at the end what was excluded and why."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from data_partitions.errors import DataError

_SINGULAR = {"are": "is", "have": "has", "count": "counts"}
# "1 recordings of less than 48 h are", "1 recordings: "
_PLURAL_OF_ONE = re.compile(r"^1 (\w+)s(?::|( .*?)?\b(are|have|count)\b)")
# (name of the step, amount done, total amount)
ProgressCallback = Callable[[str, float, float], None]


@dataclass
class PreparationLog:
    """The progress, notes and rejected records of a preparation.

    A record that cannot be used is excluded, and the preparation continues without it.

    Parameters
    ----------
    strict
        Stop at the first record that cannot be used.
    progress
        Called after each step of the work.
    notes
        Sentences about the data set as a whole.
    rejected
        One sentence for each record that cannot be used.
    counts
        Amounts by sentences with `{}` for the amount, such as "{} windows are left out.".
    """

    strict: bool = False
    progress: ProgressCallback = lambda step, done, total: None
    notes: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, sentence: str) -> None:
        """Add a sentence about the data set as a whole."""
        self.notes.append(sentence)

    def count(self, sentence: str, amount: float = 1) -> None:
        """Add to the amount in a sentence, whose `{}` stands for the sum."""
        if amount:
            self.counts[sentence] += amount  # type: ignore[assignment]

    def counted(self) -> list[str]:
        """Return the sentences with their amounts."""
        # Names in a sentence may have braces as well.
        sentences = [s.replace("{}", f"{amount:.0f}", 1) for s, amount in self.counts.items()]
        return [_PLURAL_OF_ONE.sub(_to_singular, sentence, count=1) for sentence in sentences]

    def reject(self, error: DataError) -> None:
        """Count a record as rejected; with `strict`, raise its error instead."""
        if self.strict:
            raise error
        self.rejected.append(str(error))

    def explain(self, sentences: Iterable[str] = ()) -> str:
        """Return the end of a message: these sentences as parts of one, and the first rejected record."""
        reasons = "; ".join(sentence.removesuffix(".") for sentence in sentences)
        text = f": {reasons}" if reasons else ""
        if not self.rejected:
            return text
        number = len(self.rejected)
        subject = "the rejected record" if number == 1 else f"the first of {number} rejected records"
        return f"{text}; {subject}: {self.rejected[0]}"


def _to_singular(match: re.Match[str]) -> str:
    noun, between, verb = match.groups()
    if verb is None:
        return f"1 {noun}:"
    return f"1 {noun}{between or ' '}{_SINGULAR[verb]}"
