"""`condi audit`: what it shows of a log, and how it says that a log was changed."""

from __future__ import annotations

import re

import platformdirs
import pytest
from typer.testing import CliRunner

from client_app.node.audit_log import append_entry, verify_chain
from server_app.cli import app

HASH = "ab" * 32


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "condi" / "audit" / "north.jsonl"
    append_entry(path, "start", superlink="fl.example.org:9092", policy=HASH)
    append_entry(path, "run", run=7, account="", app=HASH, changed_settings={"seed": 1, "name": "x"})
    arrays, values = {"arrays": {"a": {}, "b": {}}}, {"metrics": {"windows": 8.0, "counts": [1.0, 2.0]}}
    append_entry(path, "reply", run=7, message="train.task", bytes=12, arrays=arrays, values=values)
    append_entry(path, "refusal", run=8, message="query.describe", reason="its policy is \x1b[2J against it")
    return path


def run(*arguments) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["audit", *map(str, arguments)])
    assert not isinstance(result.exception, Exception), result.exception
    return result.exit_code, result.output


def test_shows_what_was_asked_left_and_was_refused(log):
    status, output = run(log)
    rows = [re.sub(" {2,}", "|", line).split("|")[1:] for line in output.splitlines()[1:-1]]
    assert status == 0 and rows == [
        ["start", "superlink fl.example.org:9092, policy abababababab"],
        ["run 7", "app abababababab, changed settings (2)"],
        ["reply train.task of run 7", "bytes 12, 2 arrays, windows 8"],
        ["refusal query.describe of run 8", "its policy is [2J against it"],
    ]
    end = f"{log}: 4 entries, none was changed. Hash of the last: {verify_chain(log).last_hash}"
    assert output.splitlines()[-1] == end
    assert run(log, "--verify") == (0, f"{end}\n")


def test_shows_a_single_run(log):
    _, output = run(log, "--run", "8")
    assert len(output.splitlines()) == 3 and "refusal query.describe" in output


def test_a_changed_log_ends_with_the_line_and_status_1(log):
    log.write_text(log.read_text().replace("train.task", "train.imputer"))
    status, output = run(log, "--verify")
    assert status == 1 and output.startswith(f"Error: {log}, line 4: the line before it is not the one")
    assert run(log)[0] == 1


def test_an_incomplete_last_line_is_mentioned(log):
    with log.open("a") as file:
        file.write('{"time"')
    status, output = run(log, "--verify")
    assert status == 0 and "7 bytes of an entry that a crash left incomplete" in output


def test_the_only_log_of_the_user_needs_no_name(log, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_state_path", lambda name: log.parents[1])
    assert run("--verify")[0] == 0
    append_entry(log.with_name("south.jsonl"), "start")
    status, output = run("--verify")
    assert status == 2 and "name an audit log" in output


def test_a_log_that_does_not_exist(tmp_path):
    status, output = run(tmp_path / "x.jsonl")
    assert status == 1 and "No such file" in output
