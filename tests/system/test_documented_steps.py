"""The tutorial on the files of one hospital runs as it is written, and shows what is printed."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from examples.generate import write_ten_stays
from server_app.cli import app
from tests.helpers.condi_process import processes_left, run_condi
from tests.helpers.documents import read_blocks, read_lines
from tests.helpers.run_settings import PROJECT, as_pairs, small_run_settings, without_paths

TUTORIAL = PROJECT / "docs" / "tutorials" / "own-hospital.md"
FILES = PROJECT / "examples" / "own-hospital"


def test_the_files_of_the_tutorial_are_small_and_generated(tmp_path):
    write_ten_stays(tmp_path)
    generated = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.csv")}
    assert len(generated) == 11 and sum(map(len, generated.values())) < 200_000
    assert generated == {path.relative_to(FILES): path.read_bytes() for path in FILES.rglob("*.csv")}


def test_the_tutorial_shows_the_description_and_the_files():
    blocks = read_blocks(TUTORIAL)
    (description,) = (block for block in blocks if block.title == "dataset.toml")
    assert description.text == (FILES / "dataset.toml").read_text()
    rows, table = (block.text for block in blocks[:2])
    assert (FILES / "stays" / "stay-01.csv").read_text().startswith(rows)
    assert (FILES / "stays.csv").read_text().startswith(table)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_tutorial_run_in_order_and_print_what_it_shows(tmp_path, monkeypatch):
    """`condi run` has small networks and few rounds here, all other commands are as they are written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    printed = ""
    for block in read_blocks(TUTORIAL, "bash"):
        for line in read_lines(block):
            words = shlex.split(line)
            if words[1] == "run":
                small = as_pairs(without_paths(small_run_settings({"min-sites": 2, "compare-with": "mask"})))
                ended = run_condi(*words[1:], "-c", small, cwd=tmp_path)
                assert ended.returncode == 0, ended.stdout + ended.stderr
            else:
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0, result.output
                printed += result.output
    for block in read_blocks(TUTORIAL, "text"):
        if block.text.startswith(("Facts", "own-hospital")):
            assert block.text in printed
    assert not processes_left(tmp_path)
    assert len(pd.read_csv("predictions-recordings.csv")) == 10
    for path in Path("completed").glob("stays/*.csv"):
        completed, source = pd.read_csv(path), pd.read_csv(FILES / "stays" / path.name)
        measured = source.notna()
        assert completed.notna().all(axis=None) and measured.mean(axis=None) < 0.95
        assert (completed.where(measured) == source)[measured].where(measured, True).all(axis=None)
        assert re.search("imputed samples", path.with_name(path.name + ".provenance.json").read_text())
