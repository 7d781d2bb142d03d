"""Commands in documents that prepare, train and study are carried out in their order.

Sites and coordinator run in this process, with small networks, few rounds and few patients, and the demo has
waves in place of ECGs; everything else is as it is written. `test_engines` has such runs on Flower's engine.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_partitions.sources.demo import write_source
from data_partitions.user_cache import CACHE_VARIABLE
from examples import generate
from server_app import app as coordinator
from server_app.cli import app
from server_app.operations import simulate
from server_app.study import cli as study
from server_app.study import federations
from tests.helpers.documents import read_blocks, read_lines
from tests.helpers.generated_physionet_2012 import write_set
from tests.helpers.run_fixtures import run_in_process
from tests.helpers.run_settings import PROJECT, SMALL, flat_defaults
from tests.helpers.tiny_federation import write_tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# They act on other processes of the machine or need a SuperLink, and have tests of their own.
LEFT_OUT = {"ps", "stop", "site"}
ECG_PATIENTS = 40


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, in which the project's examples and few patients of each data set are."""

    def run_here(settings: dict, nodes: int, **_) -> None:
        numbers = {key: value for key, value in SMALL.items() if isinstance(value, int)}
        fewer = {key: min(int(settings[key]), numbers[key]) for key in numbers.keys() & settings.keys()}
        run_in_process(flat_defaults() | SMALL | {"sites-timeout": 0.2} | settings | fewer, nodes)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for name in ("HOLTER", "WARD", "SLEEP"):
        monkeypatch.setattr(generate, f"{name}_PATIENTS", 24)
    monkeypatch.setattr(generate, "EPOCHS", 8)
    monkeypatch.setattr(coordinator, "prepare_demo", lambda path: path.exists() or write_tiny(path))
    monkeypatch.setattr(federations, "write_source", Path.mkdir)
    monkeypatch.setattr(
        federations, "prepare_federation", lambda _, source, path, **options: write_tiny(path)
    )
    for module in (simulate, study):
        monkeypatch.setattr(module, "simulate", run_here)
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    return tmp_path


def carry_out(line: str, values: dict[str, str]) -> None:
    """Carry out a line of a document, with `values` in place of the words that stand for them."""
    words = [values.get(word, word) for word in shlex.split(line, comments=True)][1:]
    words = [word for word in words if word]
    end = words.index(">") if ">" in words else len(words)
    result = CliRunner().invoke(app, words[:end])
    assert result.exit_code == 0, f"{line}: {result.output}"
    assert "Traceback" not in result.output, result.output
    for name in words[end + 1 :]:
        Path(name).write_text(result.stdout)


def read_commands(page: str) -> list[str]:
    """Return the lines of a page that are commands of the program, without those that are left out."""
    lines = [line.strip() for block in read_blocks(PROJECT / page, "bash") for line in read_lines(block)]
    return [line for line in lines if re.match(r"condi \w+", line) and line.split()[1] not in LEFT_OUT]


def carry_out_page(page: str, values: dict[str, str], begin: str = "", end: str = "") -> list[str]:
    """Carry out the commands of a page, between the lines that begin with `begin` and `end`; return them."""
    lines = read_commands(page)
    first = next(i for i, line in enumerate(lines) if line.startswith(f"condi {begin}"))
    last = next((i for i, line in enumerate(lines) if end and line.startswith(f"condi {end}")), len(lines))
    for line in lines[first:last]:
        carry_out(line, values)
    return lines[first:last]


def test_the_first_pages_run_the_demo(folder):
    carry_out_page("docs/start/demo.md", {})
    shutil.rmtree("runs")
    lines = carry_out_page("docs/start/installation.md", {}, begin="run")
    assert {path.name for path in Path("runs").iterdir()} >= {"demo", "trial"}
    (line,) = read_commands("docs/reference/settings.md")
    assert any(other.startswith(line) for other in lines)


def test_the_readme_brings_the_files_of_a_hospital_into_a_federation(folder):
    files = folder / "examples" / "own-hospital"
    carry_out_page("README.md", {"FOLDER": str(files), "DIR": "federation"})
    assert len(list(Path("completed").rglob("stay-*.csv"))) == 10


def test_the_page_of_ptb_xl_prepares_trains_reports_and_imputes(folder):
    write_source("files", ECG_PATIENTS)
    values = {"PTBXL": "files", "PTBXL/records100": "files/records100", "--download": ""}
    lines = carry_out_page("docs/start/ptb-xl.md", values)
    assert len(lines) == 6 and Path("sites.png").exists() and Path("runs/ptb-xl/report.html").exists()
    assert len(list(Path("completed").rglob("*.hea"))) == len(list(Path("files").rglob("*.hea")))


def test_a_federation_is_prepared_and_runs_with_other_missingness(folder):
    write_set(folder / "files")
    values = {"FOLDER": "files", "DIR": "federation", "--download": ""}
    carry_out_page("docs/how-to/prepare-data.md", values)
    carry_out_page("docs/how-to/simulate-missingness.md", values)
    assert len(list(Path("runs").iterdir())) == 2


def test_the_trackers_of_runs(folder):
    carry_out_page("docs/runs.md", {}, begin="run")
    assert Path("runs/mlflow.db").exists()


def test_the_first_study_runs_and_the_copy_of_it_is_planned(folder):
    carry_out_page("docs/studies.md", {}, end="study honest")
    assert Path("studies/quick/table.txt").exists()


def test_the_guide_to_own_data_runs_from_the_draft_to_the_model(folder):
    """The examples of two hospitals are those of `test_examples`."""
    generate.write_ward(folder / "files" / "ward")
    generate.write_sleep(folder / "files" / "sleep")
    lines = [
        line for line in read_commands("docs/own-data.md") if not re.search("examples/(holter|ward)", line)
    ]
    for line in lines:
        for name in ("dataset.toml", "south.toml"):  # as the reader has edited the draft
            shutil.copy(PROJECT / "examples" / "ward" / name, name)
        hospital = "south" if "--local" in line else "north"
        carry_out(line, {"FOLDER": f"files/ward/{hospital}"})
    assert {path.name for path in Path("runs").iterdir()} == {"first", "sleep", "trial"}
    stays = {path.name for path in Path("files/ward/south/stays").iterdir()}
    assert {path.name for path in Path("completed/stays").glob("*.csv")} == stays
