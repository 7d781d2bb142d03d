"""Covariates of the windows by the rows of their recordings, as `[covariates]` says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import CovariateSection, Description
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import quote_some
from data_partitions.sources.described.faults import require_column
from data_partitions.sources.described.table import parse_number


class CovariateReader:
    """Reads the covariates of recordings, and counts what is not understood.

    Parameters
    ----------
    description
        It has the covariates.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.sections = description.covariates
        self._unknown: Counter[tuple[str, str]] = Counter()
        self._outside: Counter[str] = Counter()

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise DataError unless the table, if there is one, has the columns of the covariates."""
        if not (self.description.table.path or self.description.table.properties):
            return
        columns = list(columns)
        for name, section in self.sections.items():
            require_column(self.description, f"covariates.{name}", section.column or name, columns)

    def read(self, row: Mapping[str, str]) -> dict[str, str]:
        """Return the cell of each covariate in `windows.csv`: a number, a category, or "" where missing."""
        cells = {}
        for name, section in self.sections.items():
            text = normalise(row.get(section.column or name, ""))
            cells[f"covariate {name}"] = self._parse(name, section, text) if text else ""
        return cells

    def _parse(self, name: str, section: CovariateSection, text: str) -> str:
        if section.categories:
            for category, texts in section.categories.items():
                if text in map(normalise, texts or (category,)):
                    return category
            self._unknown[name, text] += 1
            return ""
        try:
            number = parse_number(text, self.description.table.decimal)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self._unknown[name, text] += 1
            return ""
        if section.range is not None and not section.range[0] <= number <= section.range[1]:
            self._outside[name] += 1
            return ""
        return f"{number:.9g}"

    def add_notes(self, log: PreparationLog) -> None:
        """Say how many values were not understood or outside their range."""
        for name in dict.fromkeys(name for name, _ in self._unknown):
            texts = [text for other, text in self._unknown if other == name]
            count = sum(n for (other, _), n in self._unknown.items() if other == name)
            wrong = "of no category" if self.sections[name].categories else "not a number"
            log.note(f"Covariate {name} is missing where its text is {wrong} ({count}): {quote_some(texts)}.")
        for name, count in self._outside.items():
            log.note(f"Covariate {name} is missing where it is outside its range ({count}).")
