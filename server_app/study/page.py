"""Write the results of a study: csv files, tables as text, Markdown and LaTeX, figures, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_partitions.table import Table, escape_html
from server_app.report.markup import page, paragraph, section
from server_app.study.curves import curve_panels, draw_panels
from server_app.study.dots import draw_dots
from server_app.study.labels import explain_labels
from server_app.study.latex import PREAMBLE, to_latex
from server_app.study.long_form import long_rows
from server_app.study.results import StudyCell, replace_file, write_csv
from server_app.study.tables import all_tables, scored_metric
from server_app.study.vector_graphics import FORMATS, matplotlib_is_installed, render

PLOT_HINT = "Figures need matplotlib: pip install 'condi[plot]'"


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
    metric : metric of the overview, the comparison and the figures; see `scored_metric`

    Returns
    -------
    The tables as text for the terminal, and the paths of the files by what they are.
    """
    metric = scored_metric(cells, metric)
    tables = all_tables(cells, metric)
    notes = _notes(cells)
    text = "\n\n".join([*(table.to_text(width=None) for table in tables), *notes]) + "\n"
    markdown = "\n\n".join([f"## {name}", *(table.to_markdown() for table in tables), *notes]) + "\n"
    latex = [to_latex(table, f"tab:study-{number}") for number, table in enumerate(tables, start=1)]
    write_csv([cell.row() for cell in cells], folder / "cells.csv")
    write_csv(list(long_rows(cells)), folder / "results.csv")
    contents = {
        "table.txt": text,
        "table.md": markdown,
        "tables.tex": "\n".join([PREAMBLE, *latex]),
    }
    for file, table_text in contents.items():  # first, so that a fault of figures takes no numbers
        replace_file(folder / file, table_text)
    figures = _draw_figures(cells, metric)
    drawn: dict[str, str | bytes] = {"study.html": _html(name, study, tables, figures, notes), **figures}
    for file, content in drawn.items():
        replace_file(folder / file, content)
    return text, {file: str(folder / file) for file in ("cells.csv", "results.csv", *contents, *drawn)}


def _draw_figures(cells: Sequence[StudyCell], metric: str) -> dict[str, bytes]:
    """Return the figures by the name of their file; none without matplotlib, or without scores."""
    scored = any(cell.metrics.get(metric) is not None for cell in cells)
    if not scored or not matplotlib_is_installed():
        return {}
    figures = {"scores": draw_dots(cells, metric)}
    if panels := curve_panels(cells, metric):
        figures["curves"] = draw_panels(panels, metric)
    return {f"{name}.{f}": render(figure, f) for name, figure in figures.items() for f in FORMATS}


def _notes(cells: Sequence[StudyCell]) -> list[str]:
    notes = []
    if labels := explain_labels(cell.method for cell in cells):
        notes.append(f"What methods do: {labels}.")
    if len({cell.code for cell in cells}) > 1:
        notes.append("Cells are of different versions of the code: see the column code of results.csv.")
    return notes


def _html(
    name: str, study: str, tables: Sequence[Table], figures: dict[str, bytes], notes: Sequence[str]
) -> str:
    drawn = [
        f'<figure class="plot"><svg{figures[file].decode().partition("<svg")[2]}</figure>'
        for file in ("scores.svg", "curves.svg")
        if file in figures
    ]
    if not drawn:
        drawn = [f"<p>{PLOT_HINT if not matplotlib_is_installed() else 'No cell has a score yet.'}</p>"]
    elif "curves.svg" not in figures:
        drawn.append("<p>There are no curves: each missingness pattern has one fraction only.</p>")
    sections = [
        section("Figures", *drawn),
        section("Tables", *(table.to_html() for table in tables), *map(paragraph, notes)),
        section("The study", f"<pre>{escape_html(study)}</pre>"),
    ]
    return page(name, f"{len(tables)} tables; results.csv has every number.", sections)
