"""`condi study` as it is typed: what it refuses, and a small study on the engine that is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_partitions.sources import demo
from server_app.cli import app
from server_app.study.results import read_csv
from tests.system.test_engines import condi, left_running

STUDY = """
methods = ["mask", "condi"]
seeds = [0]
[data.ecg]
dataset = "ptb-xl"
source = "source"
[partition]
split = "iid"
sites = 2
[missingness]
points = [0.2, 0.6]
[settings]
"""
PLACES = ("federation", "output", "name", "resume", "sites")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["study.toml"], "key 'partition.0.split': input should be 'natural', 'iid' or 'dirichlet'"),
        (["nothing"], "there is no study at nothing: give a TOML file, or one of the presets honest, paper"),
        ([], "say which study"),
        (["honest"], "no source is given: write source = ... or --source ptb-xl=FOLDER"),
        (["honest", "--source", "ptb-xl=nowhere"], "data ptb-xl: there is no folder "),
        (["honest", "--source", "ptb=x"], "the study has no data 'ptb': it has ptb-xl"),
        (["honest", "--source", "ptb-xl"], "write a data set's name and folder, as DATA=FOLDER"),
        (["--show", "fast"], "there is no preset 'fast': choose from honest, paper, quick"),
    ],
)
def test_what_cannot_be_carried_out_is_said_in_a_sentence(tmp_path, monkeypatch, arguments, why):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server_app.study.cli.exit_on_signals", lambda: None)
    (tmp_path / "study.toml").write_text(STUDY.replace("iid", "idd"))
    done = CliRunner().invoke(app, ["study", *arguments])
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert why in done.stderr and done.stderr.count("\n") == 1 + ("preparing" in done.stderr)


def test_presets_are_listed_and_shown_and_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server_app.study.cli.exit_on_signals", lambda: None)
    assert "annotated example" in CliRunner().invoke(app, ["study", "--list"]).stdout
    shown = CliRunner().invoke(app, ["study", "--show", "quick"]).stdout
    (tmp_path / "mine.toml").write_text(shown)
    plans = [CliRunner().invoke(app, ["study", n, "--dry-run"]).stdout for n in ("quick", "mine.toml")]
    assert plans[0] == plans[1] and "4 runs of 3 methods, 12 cells; 4 runs left" in plans[0]
    told = json.loads(CliRunner().invoke(app, ["study", "quick", "--dry-run", "--json"]).stdout)
    assert told["cells"] == 12 and [run["done"] for run in told["runs"]] == [False] * 4
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"], "nothing is made by a plan"


@pytest.mark.engine
def test_a_study_that_is_interrupted_goes_on_to_its_tables(tmp_path, small_settings):
    demo.make(tmp_path / "source", patients=60)
    small = small_settings({"imputer.relation-rounds": 0, "sites-timeout": 120.0})
    settings = {k: v for k, v in small.items() if k not in PLACES}
    own = (
        "method",
        "compare-with",
        "seed",
        "test-missingness",
        "task.learning-rate",
        "task.learning-rate-by-method",
    )
    settings = {k: v for k, v in settings.items() if k not in own and not k.startswith("missingness.")}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    (tmp_path / "study.toml").write_text(STUDY + "\n".join(lines))
    command = [Path(sys.executable).with_name("condi"), "study", "study.toml", "--nodes", "2"]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"CONDI_TEST": str(tmp_path)}) as first:
        while first.poll() is None and not list(tmp_path.glob("studies/study/runs/*/result.json")):
            time.sleep(0.2)
        again = condi("study", "study.toml", cwd=tmp_path)
        first.send_signal(signal.SIGINT)
    assert first.returncode == 130 and not left_running(tmp_path)
    assert again.returncode == 1 and "is being worked on" in again.stderr
    runs = tmp_path / "studies" / "study" / "runs"
    before = {p: p.stat().st_mtime_ns for r in runs.glob("*/result.json") for p in r.parent.iterdir()}

    done = condi("study", "study.toml", "--nodes", 2, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert before and all(p.stat().st_mtime_ns == at for p, at in before.items())
    told = json.loads(done.stdout)
    assert not told["failed"] and len(told["cells"]) == 4
    columns = dict.fromkeys(key for cell in told["cells"] for key in cell)
    whole = [{column: cell.get(column) for column in columns} for cell in told["cells"]]
    assert repr(read_csv(Path(told["files"]["cells"]))) == repr(whole), "as text, since NaN is not NaN"
    for cell in told["cells"]:
        result = json.loads((runs / cell["run"] / "result.json").read_text())
        assert cell["auroc"] == result["task"][cell["method"]]["auroc"]
        assert cell["seconds"] > 0 and cell["bytes-up"] > 0 and cell["missing"] in (pytest.approx(0.2), 0.6)
    table = Path(told["files"]["text"]).read_text()
    assert table.count("Task, ecg, iid, 2 sites; missingness: points=") == 2
    assert table.index("\n  mask") < table.index("\n  condi")
    assert not left_running(tmp_path)
