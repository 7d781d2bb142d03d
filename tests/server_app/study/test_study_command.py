"""`condi study` on the command line: refusals, and presets."""

import json

import pytest
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.fake_runs import STUDY_FILE
from tests.helpers.run_settings import PROJECT


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["study.toml"], "key 'partition.0.split': input should be 'natural', 'iid' or 'dirichlet'"),
        (["nothing"], "there is no study nothing: name a TOML file, or one of the presets honest, paper"),
        ([], "no study is given: name a TOML file or a preset (honest, paper, quick)"),
        (["honest"], "no source is given: write source = ... or --source ptb-xl=FOLDER"),
        (["honest", "--source", "ptb-xl=nowhere"], "data ptb-xl: there is no folder "),
        (["honest", "--source", "ptb=x"], "the study has no data 'ptb': it has ptb-xl"),
        (["honest", "--source", "ptb-xl"], "write a data set's name and folder, as DATA=FOLDER"),
        (["~nosuchuser/study.toml"], "there is no study ~nosuchuser/study.toml: name a TOML file"),
        (["honest", "--source", "ptb-xl=~nosuchuser"], "data ptb-xl: there is no folder "),
        (["home.toml"], "there is no folder "),
        (["seed.toml", "--dry-run"], "seed 99999999999999999999 is not a whole number from 0 to 92233720368"),
        (["--show", "fast"], "there is no preset 'fast': choose from honest, paper, quick"),
    ],
)
def test_a_study_that_cannot_run_is_refused_in_a_sentence(tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server_app.study.cli.exit_on_signals", lambda: None)
    (tmp_path / "study.toml").write_text(STUDY_FILE.replace("iid", "idd"))
    (tmp_path / "home.toml").write_text(STUDY_FILE.replace('"source"', '"~nosuchuser/source"'))
    (tmp_path / "seed.toml").write_text(STUDY_FILE.replace("[0]", "[99999999999999999999]"))
    result = CliRunner().invoke(app, ["study", *arguments])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert reason in result.stderr and result.stderr.count("\n") == 1 + ("preparing" in result.stderr)


@pytest.mark.parametrize(
    ("name", "cells"), [("study.toml", 2 * 2 * 4 * (4 + 3)), ("own-hospital/study.toml", 3 * 3 * 3)]
)
def test_the_examples_are_planned(tmp_path, monkeypatch, name, cells):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server_app.study.cli.exit_on_signals", lambda: None)
    monkeypatch.setattr("server_app.study.forecast.Forecast.seconds", lambda self, run: 1.0)
    path = PROJECT / "examples" / name
    result = CliRunner().invoke(app, ["study", str(path), "--dry-run", "--json"])
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["cells"] == cells and not plan["missing"] and not list(tmp_path.iterdir())


def test_presets_are_listed_and_shown_and_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server_app.study.cli.exit_on_signals", lambda: None)
    monkeypatch.setattr("server_app.study.forecast.Forecast.seconds", lambda self, run: 150.0)
    assert "annotated example" in CliRunner().invoke(app, ["study", "--list"]).stdout
    text = CliRunner().invoke(app, ["study", "--show", "quick"]).stdout
    (tmp_path / "mine.toml").write_text(text)
    plans = [CliRunner().invoke(app, ["study", n, "--dry-run"]).stdout for n in ("quick", "mine.toml")]
    assert plans[0] == plans[1] and "4 runs of 3 methods, 12 cells; 4 runs left" in plans[0]
    assert "about 10 min (from operations timed on this machine)" in plans[0]
    plan = json.loads(CliRunner().invoke(app, ["study", "quick", "--dry-run", "--json"]).stdout)
    assert plan["cells"] == 12 and plan["seconds"] == 600 and not plan["missing"]
    assert [run["done"] for run in plan["runs"]] == [False] * 4
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"], "a plan writes nothing"
