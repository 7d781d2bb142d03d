"""Pieces of a page: its frame, sections, headings, paragraphs and cells. All text is escaped here."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence

from condi_core.evaluation.catalogue import Metric
from condi_core.protocol import POOLED_SITE
from data_partitions.table import DASH, Cell, Table, escape_html
from server_app.artifacts.estimates import Estimate
from server_app.report.style import SCRIPT, STYLE

Section = tuple[str, str]  # its anchor and its HTML
MAX_OPEN_ROWS = 20  # of a table; longer ones are folded


def page(title: str, summary: str, sections: Sequence[Section], overview: str = "") -> str:
    """Make a page of sections that loads nothing and runs no script but its own.

    Parameters
    ----------
    title : str
    summary : str
        A few sentences below the title.
    sections : sequence of Section
    overview : str
        HTML between the summary and the links to the sections.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    links = "".join(
        f'<a href="#{anchor}">{escape_html(anchor.replace("-", " ").capitalize())}</a>'
        for anchor, _ in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape_html(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><header><h1>{escape_html(title)}</h1>"
        f'<p class="lead">{escape_html(summary)}</p>{overview}<nav>{links}</nav></header>\n'
        + "\n".join(content for _, content in sections)
        + f"\n<script>{SCRIPT}</script></body></html>\n"
    )


def size(count: float) -> Cell:
    """Format a number of bytes with three digits, and whole ones below 1000; from 1000 PB on with more."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value >= 999.5:  # which three digits round up
            value, unit = value / 1000, larger
    decimals = 0 if unit == "B" or value >= 99.95 else 1 if value >= 9.995 else 2
    return Cell(f"{value:.{decimals}f} {unit}", count)


def seconds(value: float) -> Cell:
    return Cell(f"{value:.1f} s", value)


def duration_text(seconds: float) -> str:
    """Write a duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def percent_text(value: float, digits: int = 1) -> str:
    """Write a share as a percentage, with a space before the sign; a dash if it is not finite."""
    return f"{100 * value:.{digits}f} %" if math.isfinite(value) else DASH


def percent(value: float) -> Cell:
    return Cell(percent_text(value), value)


def metric_cell(metric: Metric, value: float | None) -> Cell:
    """Format a metric as its catalogue has it; a dash if there is no finite value."""
    if value is None or not math.isfinite(value):
        return Cell(DASH)
    return percent(value) if metric.number_format.endswith("%") else Cell(metric.format(value), value)


def estimate_text(metric: Metric, estimate: Estimate, signed: bool = False) -> str:
    """Write an estimate of a metric, or with `signed` of a difference, with its interval in parentheses."""

    def write(value: float) -> str:
        text = metric_cell(metric, abs(value)).text
        if not any(digit in text for digit in "123456789"):  # zero as printed has no sign
            return text
        return ("−" if value < 0 else "+" if signed else "") + text

    text, ends = write(estimate.value), [write(end) for end in estimate.interval or ()]
    # An interval without width is of decisions that are the same for all patients.
    return f"{text} ({' to '.join(ends)})" if {*ends} - {text} else text


def estimate_cell(metric: Metric, estimate: Estimate, signed: bool = False) -> Cell:
    """Format as `estimate_text`; a dash if there is no finite value."""
    if not math.isfinite(estimate.value):
        return Cell(DASH)
    return Cell(estimate_text(metric, estimate, signed), estimate.value)


def site_label(site: str) -> str:
    """Name a site for people; centralised training has all sites as one."""
    return "all sites together" if site == POOLED_SITE else site


def section(title: str, *parts: str) -> Section:
    """Make a section of the page; return its anchor and its HTML."""
    anchor = _anchor(title)
    return anchor, f'<section id="{anchor}"><h2>{escape_html(title)}</h2>{"".join(parts)}</section>'


def folded_section(title: str, *parts: str) -> Section:
    """Make a section that shows its title alone until the reader opens it."""
    anchor = _anchor(title)
    return anchor, (
        f'<section id="{anchor}"><details class="folded"><summary><h2>{escape_html(title)}</h2></summary>'
        f"{''.join(parts)}</details></section>"
    )


def _anchor(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower())


def heading(text: str) -> str:
    return f"<h3>{escape_html(text)}</h3>"


def paragraph(text: str) -> str:
    return f"<p>{escape_html(text)}</p>"


def details(summary: str, *parts: str) -> str:
    """Make a block that is closed until the reader opens it."""
    return f"<details><summary>{escape_html(summary)}</summary>{''.join(parts)}</details>"


def table_or_folded(table: Table) -> str:
    """Show a table, closed until the reader opens it if it is long."""
    html = table.to_html()
    return (
        html if len(table.rows) <= MAX_OPEN_ROWS else details(f"{table.title} ({len(table.rows)} rows)", html)
    )


def side_by_side(*tables: str) -> str:
    """Place small tables in a row, where the page is wide enough."""
    return f'<div class="tables">{"".join(tables)}</div>'


def fact_list(facts: Mapping[str, str]) -> str:
    """List facts by their names, in columns."""
    items = "".join(
        f"<div><dt>{escape_html(name)}</dt><dd>{escape_html(fact)}</dd></div>" for name, fact in facts.items()
    )
    return f'<dl class="facts">{items}</dl>'


def meaning_list(meanings: Mapping[str, str]) -> str:
    """Make a closed block that explains names, for readers who cannot see tooltips."""
    items = "".join(f"<dt>{escape_html(n)}</dt><dd>{escape_html(m)}</dd>" for n, m in meanings.items() if m)
    return details("What the names mean", f'<dl class="meanings">{items}</dl>') if items else ""


def figure_row(*figures: str) -> str:
    """Place figures side by side, as many as the page is wide enough for."""
    return f'<div class="figures">{"".join(figures)}</div>'
