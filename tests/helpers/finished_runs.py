"""Complete tiny runs for tests of their reports, and a parser of pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import platformdirs
import pytest
import torch

from client_app.app import app as client_app
from condi_core.config import RunConfig
from data_partitions.federation import write_federation
from server_app.app import coordinate
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import manifest, site_data

# Names of sites come from outside and may be markup.
HOSTILE = ("<script>alert(1)", 'north "&<b>|', "south")


def write_hostile(path: Path, **changes) -> Path:
    """Write a federation of three sites with those names, one of them without modality d."""
    sizes = {"train": 8, "val": 3, "test": 5}
    parts = []
    for i, name in enumerate(HOSTILE):
        site_manifest = manifest(name, sizes, ("d",) if i == 2 else (), **changes)
        parts.append((site_manifest, *site_data(name, seed=i, test=5)))
    return write_federation(path, parts, dataset="waves", split="natural", seed=0, made_by="a test").path


def run_in(folder: Path, federation: Path, settings: dict, tamper=None) -> Path:
    """Run in this process; return the run directory."""
    torch.set_num_threads(1)
    settings = settings | {"federation": str(federation), "output": str(folder / "runs")}
    grid = LocalGrid(client_app, [{"partition-id": 0, "num-partitions": 1}], settings, tamper)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platformdirs, "user_cache_path", lambda *_, **__: folder / "cache")
        return coordinate(grid, RunConfig.from_flat(settings)).path


VOID = {"meta", "br", "link", "img", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """The parts of a page: tables by caption, figures, scripts, links. Every tag must be closed in order."""

    text: str
    tables: dict[str, list[list[tuple[str, str | None]]]] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)  # caption → drawn elements
    scripts: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._text = ""
        self._rows: list[list[tuple[str, str | None]]] = []
        self._caption = ""
        self._drawn = 0
        self.feed(self.text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.links += [attrs[k] for k in ("href", "src", "action", "data") if k in attrs]
        if tag in VOID:
            return
        self._open.append(tag)
        if tag in ("th", "td", "caption", "figcaption", "script"):
            self._text = ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td"):
            self._rows[-1].append(("", attrs.get("data-value")))
        if tag == "figcaption":
            self._drawn = 0
        if tag in ("path", "rect", "circle") and (attrs.get("d") or attrs.get("width") or attrs.get("r")):
            self._drawn += 1

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag
        if tag in ("th", "td"):
            self._rows[-1][-1] = (self._text, self._rows[-1][-1][1])
        elif tag == "caption":
            self._caption, self._rows = self._text, []
        elif tag == "table":
            self.tables[self._caption] = self._rows
        elif tag == "figcaption":
            self._figure = self._text
        elif tag == "figure":
            self.figures[self._figure] = self._drawn
        elif tag == "script":
            self.scripts.append(self._text)

    def values(self, caption: str) -> list[list[float | None]]:
        """Numbers of a table by row, without its head and the names of its rows."""
        rows = self.tables[caption][1:]
        return [[None if v is None else float(v) for _, v in row[1:]] for row in rows]

    def column(self, caption: str, name: str) -> list[float | None]:
        head = [text for text, _ in self.tables[caption][0]]
        return [row[head.index(name) - 1] for row in self.values(caption)]
