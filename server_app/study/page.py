"""Write the results of a study: table.txt, table.md, study.html and curves, with cells.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_partitions.table import Table, escape_html
from server_app.report.markup import page, section
from server_app.study.curves import curve_panels, draw_panels
from server_app.study.results import StudyCell, replace_file, write_csv
from server_app.study.tables import all_tables, scored_metric


def write_results(
    folder: Path, name: str, study: str, cells: Sequence[StudyCell], metric: str
) -> tuple[str, dict[str, str]]:
    """Write all result files of a study.

    Parameters
    ----------
    folder : folder of the study
    name : its title
    study : its TOML file
    cells : its cells
    metric : metric of the overview, the comparison and the curves; see `scored_metric`

    Returns
    -------
    The tables as text for the terminal, and the paths of the files by what they are.
    """
    metric = scored_metric(cells, metric)
    tables = all_tables(cells, metric)
    notes = _notes(cells)
    text = "\n\n".join([*(table.to_text(width=None) for table in tables), *notes]) + "\n"
    markdown = "\n\n".join([f"## {name}", *(table.to_markdown() for table in tables), *notes]) + "\n"
    panels = curve_panels(cells, metric)
    svg = draw_panels(panels, metric) if panels else None
    if svg:
        curves = f'<figure class="plot"><svg{svg.decode().partition("<svg")[2]}</figure>'
    elif panels:
        curves = "<p>Curves need matplotlib: pip install -e '.[plot]'</p>"
    else:
        curves = "<p>There are no curves: each missingness pattern has one fraction only.</p>"
    paths = {
        "cells": folder / "cells.csv",
        "text": folder / "table.txt",
        "markdown": folder / "table.md",
        "html": folder / "study.html",
    }
    write_csv([cell.row() for cell in cells], paths["cells"])
    replace_file(paths["text"], text)
    replace_file(paths["markdown"], markdown)
    replace_file(paths["html"], _html(name, study, tables, curves, notes))
    png = draw_panels(panels, metric, "png") if svg else None
    if png:
        paths["curves"] = folder / "curves.png"
        replace_file(paths["curves"], png)
    return text, {key: str(path) for key, path in paths.items()}


def _notes(cells: Sequence[StudyCell]) -> list[str]:
    if len({cell.code for cell in cells}) > 1:
        return ["Cells were computed by different versions of the code: see the column code of cells.csv."]
    return []


def _html(name: str, study: str, tables: Sequence[Table], curves: str, notes: Sequence[str]) -> str:
    sections = [
        section("Curves over missingness", curves),
        section("Tables", *(table.to_html() for table in tables)),
        section("The study", f"<pre>{escape_html(study)}</pre>"),
    ]
    return page(name, " ".join(notes), sections)
