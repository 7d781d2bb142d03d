"""Give readers each table of the results as csv: a link below it, to a file that is written at build."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGE = "results.md"
TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a csv file for each table."""
    text = (Path(config.docs_dir) / PAGE).read_text(encoding="utf-8")
    for number, table in enumerate(TABLE.findall(text), start=1):
        files.append(File.generated(config, _path(number), content=_to_csv(table)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Link the csv file below each table."""
    if page.file.src_uri != PAGE:
        return markdown
    numbers = iter(range(1, len(TABLE.findall(markdown)) + 1))
    return TABLE.sub(lambda match: f"{match[0]}\n[This table as csv]({_path(next(numbers))})\n", markdown)


def _path(number: int) -> str:
    return f"results/table-{number:02}.csv"


def _to_csv(table: str) -> str:
    """Write a table of Markdown as csv, without its marks of code and bold text."""
    rows = [line.strip("|").split("|") for line in table.splitlines()]
    text = io.StringIO()
    cells = [[re.sub(r"`|\*\*", "", cell).strip() for cell in row] for row in rows]
    csv.writer(text).writerows([row for row in cells if not all(re.fullmatch("-+", cell) for cell in row)])
    return text.getvalue()
