"""What was unusual in files that were used: equal sentences are stated once, with the number of files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MAX_SENTENCES = 20


class Notes:
    """Sentences on files, in the order in which they first occurred."""

    def __init__(self) -> None:
        self._files: dict[str, list[Path]] = {}

    def add(self, file: Path, sentences: Iterable[str]) -> None:
        """Add what is to be said of a file."""
        for sentence in sentences:
            self._files.setdefault(sentence, []).append(file)

    def lines(self) -> list[str]:
        """Return one line for each different sentence, of which at most `MAX_SENTENCES`."""
        lines = []
        for sentence, files in list(self._files.items())[:MAX_SENTENCES]:
            others = f" and {len(files) - 1} more" if len(files) > 1 else ""
            lines.append(f"{files[0]}{others}: {sentence}")
        if (hidden := len(self._files) - MAX_SENTENCES) > 0:
            lines.append(f"{hidden} more notes are left out")
        return lines
