"""What a check has to say: sentences in three levels, and tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, NamedTuple

from data_partitions.errors import DataError
from data_partitions.sentences import MAX_NAMES, count_noun
from data_partitions.sources.described.faults import DescriptionError
from data_partitions.table import Table

Level = Literal["error", "warning", "fact"]
HEADINGS: dict[Level, str] = {
    "error": "Errors: nothing can be prepared before they are corrected",
    "warning": "Warnings: look at these before training",
    "fact": "Facts",
}
TEXT_WIDTH = 100
_NAME_OR_NUMBER = re.compile(r"\S*[/\\.\d]\S*")


class Finding(NamedTuple):
    """A sentence about a part of the data set, such as "signals.HR", with what it counts."""

    level: Level
    subject: str
    sentence: str


def describe_error(error: DataError) -> Finding:
    """Return an error as a finding about the setting that is wrong, or else about the files."""
    if isinstance(error, DescriptionError):
        return Finding("error", error.key, error.sentence)
    return Finding("error", "source", str(error))


@dataclass
class CheckReport:
    """All findings of a check."""

    findings: list[Finding] = field(default_factory=list)  # in the order in which they were made
    tables: list[Table] = field(default_factory=list)  # what can be compared line by line
    command: str = ""  # the command to go on with; "" if there are errors

    def add(self, level: Level, subject: str, sentence: str) -> None:
        """Add a sentence."""
        self.findings.append(Finding(level, subject, sentence))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add the findings of one check."""
        self.findings.extend(findings)

    def of_level(self, level: Level) -> list[Finding]:
        """Return the findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    @property
    def has_errors(self) -> bool:
        return bool(self.of_level("error"))

    def to_text(self) -> str:
        """Write the facts, the tables, and then what needs attention, the gravest last."""
        parts = [_list_sentences("fact", self.of_level("fact"))]
        parts += [table.to_text(TEXT_WIDTH) for table in self.tables]
        parts += [_list_sentences(level, self.of_level(level)) for level in ("warning", "error")]
        errors, warnings = len(self.of_level("error")), len(self.of_level("warning"))
        parts.append(
            f"not ready: {count_noun(errors, 'error')}, {count_noun(warnings, 'warning')}"
            if errors
            else f"ready: {self.command}"
        )
        return "\n\n".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a mapping that JSON can hold."""
        findings: dict[str, Any] = {
            f"{level}s": [
                {"subject": finding.subject, "sentence": finding.sentence} for finding in self.of_level(level)
            ]
            for level in ("error", "warning", "fact")
        }
        tables = {
            table.title: [
                {
                    column: cell.text if cell.value is None or not isfinite(cell.value) else cell.value
                    for column, cell in zip(table.columns, row, strict=True)
                }
                for row in table.cells
            ]
            for table in self.tables
        }
        return {**findings, "tables": tables, "command": self.command}


def list_reasons(sentences: Sequence[str]) -> str:
    """Write sentences about files, once for those that differ in names and numbers alone."""
    groups: dict[str, list[str]] = {}
    for sentence in sentences:
        groups.setdefault(_NAME_OR_NUMBER.sub("", sentence), []).append(sentence)
    reasons = [f"{g[0]} (and {len(g) - 1} more like it)" if len(g) > 1 else g[0] for g in groups.values()]
    more = [f"and {count_noun(len(reasons) - MAX_NAMES, 'other reason')}"] if len(reasons) > MAX_NAMES else []
    return "; ".join(reasons[:MAX_NAMES] + more)


def format_share(share: float) -> str:
    """Write a share in percent, and never a small one as 0 % or a large one as 100 %."""
    if share <= 0 or share >= 1:
        return f"{share:.0%}"
    if share < 0.0005:
        return "under 0.1%"
    if share > 0.9995:
        return "over 99.9%"
    return f"{share:.1%}" if share < 0.1 or share > 0.99 else f"{share:.0%}"


def _list_sentences(level: Level, findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    lines = [HEADINGS[level]]
    for finding in findings:
        text = f"{finding.subject}: {finding.sentence}"
        lines.append(textwrap.fill(text, TEXT_WIDTH, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines)
