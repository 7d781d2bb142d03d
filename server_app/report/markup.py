"""Pieces of a page: numbers, cells, sortable tables, sections. All text is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DASH = "–"


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number behind it where there is one, by which its column is sorted."""

    text: str
    value: float | None = None
    mark: bool = False  # the one that counts, such as the best round


def escape(text: object) -> str:
    """For text and for attributes; control characters but newlines are dropped."""
    kept = "".join(c for c in str(text) if c.isprintable() or c == "\n")
    return html.escape(kept, quote=True)


def number(value: float | None) -> str:
    """Four digits of a number, whole numbers as they are; a dash for what is not one."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def size(count: float) -> Cell:
    """A number of bytes."""
    shown = float(count)
    for unit in ("B", "kB", "MB"):
        if shown < 1000:
            return Cell(f"{shown:.3g} {unit}", count)
        shown /= 1000
    return Cell(f"{shown:.3g} GB", count)


def seconds(value: float) -> Cell:
    return Cell(f"{value:.1f} s", value)


def percent(value: float) -> Cell:
    return Cell(f"{value:.1%}".replace("%", " %") if math.isfinite(value) else DASH, value)


Value = Cell | str | float | int | None


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """A table that scrolls in its own box and is sorted by a click on a column; the first names the rows."""
    cells = [[_cell(v) for v in row] for row in rows]
    if not cells:
        return paragraph(f"{caption}: nothing yet.")
    numeric = [i > 0 and any(row[i].value is not None for row in cells) for i in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_numeric(n)}><button type="button">{escape(c)}</button></th>'
        for c, n in zip(columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            _shown(c, "th" if i == 0 else "td", n) for i, (c, n) in enumerate(zip(row, numeric, strict=True))
        )
        + "</tr>"
        for row in cells
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: Value) -> Cell:
    if isinstance(value, Cell):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(number(value), float(value))
    return Cell(DASH if value is None else str(value))


def _shown(cell: Cell, tag: str, numeric: bool) -> str:
    known = cell.value is not None and math.isfinite(cell.value)
    value = f' data-value="{_exact(cell.value)}"' if known else ""
    scope = f' scope="row" title="{escape(cell.text)}"' if tag == "th" else ""
    text = f"<mark>{escape(cell.text)}</mark>" if cell.mark else escape(cell.text)
    return f"<{tag}{scope}{_numeric(numeric and tag == 'td')}{value}>{text}</{tag}>"


def _exact(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _numeric(it_is: bool) -> str:
    return ' class="n"' if it_is else ""


def section(title: str, *parts: str) -> tuple[str, str]:
    """A section of the page, and the anchor of it."""
    anchor = "".join(c if c.isalnum() else "-" for c in title.lower())
    return anchor, f'<section id="{anchor}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def bullets(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def details(summary: str, *parts: str) -> str:
    """What is there for those who open it."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def side_by_side(*tables: str) -> str:
    """Small tables in a row, where the page is wide enough for it."""
    return f'<div class="tables">{"".join(tables)}</div>'


def figure_row(*figures: str) -> str:
    """Figures side by side, as many as the page is wide enough for."""
    return f'<div class="figures">{"".join(figures)}</div>'
