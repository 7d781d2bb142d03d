"""The documentation is complete and builds without a warning, from this machine's files alone."""

import csv
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]


def test_each_page_is_in_the_navigation():
    configuration = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(PROJECT / "docs").as_posix() for path in (PROJECT / "docs").rglob("*.md")}
    assert pages <= set(re.findall(r"[\w/-]+\.md", configuration.partition("\nnav:")[2]))


def test_the_readme_is_short_and_its_limits_of_use_are_stated():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 160
    assert "## Limits of use" in text and "not medical devices" in text


def test_the_citation_is_of_this_version_and_has_what_its_format_requires():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert all("name" in author for author in citation["authors"] + citation["references"][0]["authors"])
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    released = f"## {project['version']} ({citation['date-released']})"
    assert released in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site; all links and anchors must exist, because warnings are errors."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=PROJECT,
        env=os.environ
        | {"PYTHONPATH": str(PROJECT), "NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://[::1]:9"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_the_reference_is_written_from_the_code(site):
    settings = (site / "reference" / "settings" / "index.html").read_text()
    assert re.search(r"<code>sites-per-round</code>.*?<code>1\.0</code>.*?&gt; 0 and ≤ 1", settings, re.S)
    commands = (site / "reference" / "command-line" / "index.html").read_text()
    assert re.search(r"<code>condi prepare ptb-xl</code>.*?<code>--label-rule</code>", commands, re.S)
    python = re.sub(r"<[^>]+>", "", (site / "reference" / "python-api" / "index.html").read_text())
    assert re.search(r"load_model.*run\s+\(str \| Path\)\s+–\s+the run directory", python, re.S)


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link)\b[^>]*?(?:src|href)=\"?(https?://[^\" >]+)", page.read_text()
        )
        assert not loaded, page


@pytest.mark.slow
def test_each_table_of_results_is_there_as_csv_without_markup(site):
    tables = [
        list(csv.reader(path.open(encoding="utf-8"))) for path in sorted(site.glob("results/table-*.csv"))
    ]
    lines = [
        [cell.strip().replace("**", "").replace("`", "") for cell in line.strip("|").split("|")]
        for line in (PROJECT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    assert [row for table in tables for row in table] == lines
    assert (site / "results" / "index.html").read_text().count("This table as csv") == len(tables) > 12
