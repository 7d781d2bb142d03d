"""Commands in documents that read finished runs are carried out in their order, in a folder with runs."""

import glob
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.documents import read_blocks, read_lines
from tests.helpers.ecg_run import LEADS, RATE, ecg, write_ecg_federation, write_ecg_run
from tests.helpers.run_settings import PROJECT

# Each page with its partition SITE, and with what its commands write.
PAGES = {
    "how-to/results-of-a-run": ("federation/north", ["runs/demo/report.html"]),
    "how-to/use-a-model": ("others/south", ["completed/ecg.hea", "predictions.csv"]),
    "runs": ("", ["runs/demo/model-card.md", "compare.html"]),
    "start/demo": ("", ["runs/demo/report.html"]),
}
READING = "report", "impute", "predict", "evaluate", "card", "compare"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Write the runs that the pages name, a partition and a record of limb leads with a gap."""
    folder = tmp_path_factory.mktemp("results")
    run = write_ecg_run(folder)
    for name in ("longer", "more-rounds"):
        shutil.copytree(run, run.with_name(name))
    run.rename(run.with_name("demo"))
    write_ecg_federation(folder / "others", "south")
    signal = ecg()
    signal[100:150, 1] = np.nan
    (folder / "records").mkdir()
    wfdb.wrsamp(
        "ecg", RATE, ["mV"] * 3, list(LEADS), signal, fmt=["16"] * 3, write_dir=str(folder / "records")
    )
    return folder


def read_commands(page: str) -> list[list[str]]:
    """Return the words of each command of a page that reads a run."""
    blocks = read_blocks(PROJECT / "docs" / f"{page}.md", "bash")
    lines = [shlex.split(line, comments=True) for block in blocks for line in read_lines(block)]
    return [words[1:] for words in lines if words[:1] == ["condi"] and words[1] in READING]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_commands_that_read_runs_are_carried_out(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    site, files = PAGES[page]
    commands = read_commands(page)
    assert commands
    for words in commands:
        words = [{"DATA": "records", "SITE": site}.get(word, word) for word in words]
        words = [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word])]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"condi {' '.join(words)}: {result.output}"
        assert not re.search("Traceback|Error", result.output), result.output
    assert all(Path(name).stat().st_size > 0 for name in files)
