"""What a study leaves to read: table.txt, table.md and study.html, beside cells.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_partitions.table import Table, escape_html
from server_app.report.markup import page, section
from server_app.study.curves import draw, panels
from server_app.study.results import Row, write, write_csv
from server_app.study.tables import all_tables


def write_results(folder: Path, name: str, study: str, rows: Sequence[Row], metric: str) -> tuple[str, dict]:
    """Write all files; the tables as text for the terminal, and the paths by what they are."""
    tables = all_tables(rows, metric)
    notes = _notes(rows)
    text = "\n\n".join([*(table.to_text(width=None) for table in tables), *notes]) + "\n"
    markdown = "\n\n".join([f"## {name}", *(table.to_markdown() for table in tables), *notes]) + "\n"
    found = panels(rows, metric)
    svg = draw(found, metric) if found else None
    curves = svg.decode().partition("<svg")[2] if svg else ""
    told = (
        f'<figure class="plot"><svg{curves}</figure>' if curves
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
    sections = [
        section("Curves over missingness", curves),
        section("Tables", *(table.to_html() for table in tables)),
        section("The study", f"<pre>{escape_html(study)}</pre>"),
    ]
    return page(name, " ".join(notes), sections)
