"""What a study leaves to read: table.txt, table.md and study.html, beside cells.csv."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from server_app.study.curves import draw, panels
from server_app.study.results import Row, write, write_csv
from server_app.study.tables import Table, all_tables

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { text-align: right; padding: 0.2rem 0.8rem; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.best { font-weight: bold; }
figure { margin: 1rem 0; background: white; border-radius: 6px; overflow-x: auto; }
p { color: color-mix(in srgb, currentColor 70%, transparent); }
pre { overflow-x: auto; }
"""


def write_results(folder: Path, name: str, study: str, rows: Sequence[Row], metric: str) -> tuple[str, dict]:
    """Write all files; the tables as text for the terminal, and the paths by what they are."""
    tables = all_tables(rows, metric)
    notes = _notes(rows)
    text = "\n\n".join([*(table.text() for table in tables), *notes]) + "\n"
    markdown = "\n\n".join([f"## {name}", *(table.markdown() for table in tables), *notes]) + "\n"
    found = panels(rows, metric)
    svg = draw(found, metric) if found else None
    curves = svg.decode().partition("<svg")[2] if svg else ""
    told = (
        f"<figure><svg{curves}</figure>" if curves
        else "<p>Curves need matplotlib: pip install -e '.[plot]'</p>" if found
        else "<p>There are no curves: every kind of holes has one share.</p>"
    )  # fmt: skip
    paths = {k: folder / n for k, n in (("cells", "cells.csv"), ("text", "table.txt"),
                                        ("markdown", "table.md"), ("html", "study.html"))}  # fmt: skip
    write_csv(rows, paths["cells"])
    write(paths["text"], text)
    write(paths["markdown"], markdown)
    write(paths["html"], _html(name, study, tables, told, notes))
    if svg:
        paths["curves"] = folder / "curves.png"
        write(paths["curves"], draw(found, metric, "png"))
    return text, {key: str(path) for key, path in paths.items()}


def _notes(rows: Sequence[Row]) -> list[str]:
    if len({row["code"] for row in rows}) > 1:
        return ["Cells were computed by different versions of the code: see the column code of cells.csv."]
    return []


def _html(name: str, study: str, tables: Sequence[Table], curves: str, notes: Sequence[str]) -> str:
    parts = [
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(name)}</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        "<h2>Curves over missingness</h2>",
        curves,
        "<h2>Tables</h2>",
        *(table.html() for table in tables),
        f"<h2>The study</h2><pre>{escape(study)}</pre></body></html>",
    ]
    return "\n".join(parts) + "\n"
