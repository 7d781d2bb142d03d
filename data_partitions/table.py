"""Tables for the terminal, Markdown, HTML and spreadsheets: the one place that aligns and escapes cells."""

from __future__ import annotations

import csv
import html
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Literal, TextIO

DASH = "–"  # where there is no value
COLUMN_SEPARATOR = "  "  # between the columns of a text table
MIN_COLUMN_WIDTH = 6  # characters; columns of a text table are not narrowed further

Mark = Literal["", "best", "tie"]
SIGNS: dict[Mark, str] = {"": "", "best": "*", "tie": "~"}
# A number, perhaps with deviation, unit, interval and sign of a mark. Group 1 is before the decimal point.
_NUMBER = re.compile(r"([+−-]?\d+)(\.\d+)?(e[+-]\d+)?( ± \S+)?( (?:%|s|[kMG]?B))?( [\[(].*[\])])?( [*~])?")
# A spreadsheet runs a cell that begins so. In some countries it separates cells at semicolons.
_START_OF_FORMULA = re.compile(r"(^|[;\t\n]\s*)(?=[=+\-@\t\n＝＋－＠])")


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and the number behind it, by which an HTML table is sorted."""

    text: str
    value: float | None = None
    mark: Mark = ""

    @property
    def signed(self) -> str:
        """The text with the sign of its mark."""
        return f"{self.text} {SIGNS[self.mark]}" if self.mark else self.text


Value = Cell | str | float | None


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Parameters
    ----------
    title : str
        One line, or none ("").
    columns : sequence of str
        Names of the columns.
    rows : sequence of sequences
        Values by column: a `Cell`, a text, a number (shown with four significant digits) or None (a dash).
    note : str
        A sentence below the table.
    meanings : mapping of str to str
        What names of columns and rows stand for; HTML shows it as a tooltip.

    A column other than the first that has a number is aligned to the right. Its decimal points are below each
    other where all its cells are numbers of one unit. A cell of a text table may have several lines.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def cells(self) -> list[list[Cell]]:
        return [[as_cell(value) for value in row] for row in self.rows]

    @cached_property
    def numeric(self) -> list[bool]:
        """Whether a column has numbers."""
        return [
            j > 0 and any(row[j].value is not None for row in self.cells) for j in range(len(self.columns))
        ]

    def to_text(self, width: int | None = 80) -> str:
        """Lay the table out for a terminal; columns are narrowed and wrapped to fit `width` characters.

        Numbers are not wrapped: a table of many is wider.
        """
        if not self.cells:
            return f"{self.title}: none" if self.title else ""
        indent = COLUMN_SEPARATOR if self.title else ""
        columns = [
            _align_decimal_points([row[j].signed for row in self.cells], n)
            for j, n in enumerate(self.numeric)
        ]
        columns = [[printable(name), *texts] for name, texts in zip(self.columns, columns, strict=True)]
        widths = [max(len(line) for text in texts for line in text.split("\n")) for texts in columns]
        space = math.inf if width is None else width - len(indent) - len(COLUMN_SEPARATOR) * (len(widths) - 1)
        least = [
            max([MIN_COLUMN_WIDTH, *(len(word) for text in texts[1:] for word in text.split() if numeric)])
            for texts, numeric in zip(columns, self.numeric, strict=True)
        ]
        while sum(widths) > space and (wide := [j for j, n in enumerate(least) if widths[j] > n]):
            widths[max(wide, key=widths.__getitem__)] -= 1
        lines = [self.title] if self.title else []
        for row in zip(*columns, strict=True):
            wrapped = [_wrap(text, width) for text, width in zip(row, widths, strict=True)]
            for parts in zip_longest(*wrapped, fillvalue=""):
                padded = [
                    part.rjust(width) if numeric else part.ljust(width)
                    for part, width, numeric in zip(parts, widths, self.numeric, strict=True)
                ]
                lines.append((indent + COLUMN_SEPARATOR.join(padded)).rstrip())
        if self.note:
            note = [self.note] if width is None else textwrap.wrap(self.note, width - len(indent))
            lines += [indent + line for line in note]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Write the table in Markdown, with its title as a heading of the third level."""
        lines = [[escape_markdown(name) for name in self.columns]]
        lines += [["---:" if numeric else "---" for numeric in self.numeric]]
        lines += [[escape_markdown(cell.signed) for cell in row] for row in self.cells]
        parts = [f"### {escape_markdown(self.title)}"] if self.title else []
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join(parts + ([escape_markdown(self.note)] if self.note else []))

    def to_html(self) -> str:
        """Write the table in HTML, in a box that scrolls; a click on a button in its head sorts the rows."""
        if not self.cells:
            return f"<p>{escape_html(self.title)}: none.</p>"
        head = "".join(
            f'<th scope="col"{_css_class(numeric)}><button type="button">{self._explain(name)}</button></th>'
            for name, numeric in zip(self.columns, self.numeric, strict=True)
        )
        columns = [
            _shorter_ends([row[j].signed for row in self.cells], numeric)
            for j, numeric in enumerate(self.numeric)
        ]
        rows = "".join(
            f"<tr>{self._html_row(row, ends)}</tr>"
            for row, ends in zip(self.cells, zip(*columns, strict=True), strict=True)
        )
        title = escape_html(self.title)
        note = f"<p>{escape_html(self.note)}</p>" if self.note else ""
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>'
            f"<caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
        )

    def _html_row(self, row: Sequence[Cell], shorter_ends: Sequence[str]) -> str:
        """Write a row; the style sheet shows what its ends lack invisibly, so that decimal points align."""
        cells = []
        for j, (cell, numeric, end) in enumerate(zip(row, self.numeric, shorter_ends, strict=True)):
            tag = "th" if j == 0 else "td"
            scope = f' scope="row" title="{escape_html(cell.text)}"' if j == 0 else ""
            value = f' data-value="{exact}"' if (exact := _format_exactly(cell.value)) else ""
            text = self._explain(cell.signed) if j == 0 else escape_html(cell.signed)
            text = f"<mark>{text}</mark>" if cell.mark == "best" else text
            text += f'<i class="pad" data-end="{escape_html(end)}"></i>' if end else ""
            cells.append(f"<{tag}{scope}{_css_class(numeric)}{value}>{text}</{tag}>")
        return "".join(cells)

    def _explain(self, name: str) -> str:
        """Escape a name, and add its meaning if the table has one."""
        text, meaning = escape_html(name), self.meanings.get(name)
        return f'<abbr title="{escape_html(meaning)}">{text}</abbr>' if meaning else text


class CsvWriter:
    """Writes rows of a csv file that people open with a spreadsheet: no cell of it is run as a formula."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")

    def writerow(self, cells: Iterable[object]) -> None:
        self._writer.writerow([escape_csv(cell) for cell in cells])


def as_cell(value: Value) -> Cell:
    """Give a value the text of a cell."""
    if isinstance(value, Cell):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(format_number(value), float(value))
    return Cell(DASH if value is None else str(value))


def format_number(value: float | None) -> str:
    """Format a number with four significant digits, a whole one with all; a dash if it is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def printable(text: object) -> str:
    """Drop control characters other than newlines."""
    return "".join(c for c in str(text) if c.isprintable() or c == "\n")


def escape_html(text: object) -> str:
    """Escape text and attributes of HTML."""
    return html.escape(printable(text), quote=True)


def escape_csv(value: object) -> object:
    """Put an apostrophe before what a spreadsheet would run; numbers, also as texts, stay as they are."""
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        # Before Python 3.13 csv does not quote a carriage return, which would end the row.
        return _START_OF_FORMULA.sub(r"\1'", value.replace("\r", "\n"))
    return value


def escape_markdown(text: object) -> str:
    """Escape text of Markdown, on one line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return "".join("\\" + c if c in "\\`*_[]<>#|&" else c for c in plain)


def _align_decimal_points(texts: Sequence[str], numeric: bool) -> list[str]:
    """Pad numbers at the end, so that alignment to the right puts their decimal points below each other."""
    texts = [printable(text) for text in texts]
    return [text + " " * len(rest) for text, rest in zip(texts, _shorter_ends(texts, numeric), strict=True)]


def _shorter_ends(texts: Sequence[str], numeric: bool) -> list[str]:
    """Return what each text of a column lacks after its decimal point to be as wide as the longest."""
    matches = [_NUMBER.fullmatch(text) for text in texts]
    is_number = [match or text in ("", DASH) for match, text in zip(matches, texts, strict=True)]
    units = {match[5] for match in matches if match}
    if not numeric or not all(is_number) or len(units) > 1:  # kB below MB: not the same digits
        return [""] * len(texts)
    ends = [text[match.end(1) :] if match else "" for match, text in zip(matches, texts, strict=True)]
    return [max(ends, key=len)[len(end) :] for end in ends]


def _wrap(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if len(line) <= width else textwrap.wrap(line, width) or [""]
    return lines


def _format_exactly(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _css_class(numeric: bool) -> str:
    return ' class="n"' if numeric else ""
