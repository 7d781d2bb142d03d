"""The command at the end of a run: what it is told, and that no run fails because of it."""

import json
import sys

import pytest

from condi_core.config import ConfigError
from server_app.errors import RunError
from server_app.operations import end_command
from server_app.operations.end_command import require_program, run_end_command
from server_app.settings import validate_settings
from tests.helpers.run_settings import flat_defaults

WRITE = """
import json, os, sys
outcome = {k: v for k, v in os.environ.items() if k.startswith("CONDI_RUN_")}
open(sys.argv[1], "w").write(json.dumps([outcome, sys.argv[2:]]))
"""


@pytest.fixture
def notify(tmp_path):
    """A command that writes its environment and its arguments, and the file."""
    script, file = tmp_path / "notify.py", tmp_path / "told.json"
    script.write_text(WRITE)
    return f"{sys.executable} {script} {file} '$HOME; true'", file


def test_a_completed_and_a_failed_run_are_announced(notify, run_local, federation):
    command, file = notify
    changes = {"method": "mask", "task.rounds": 1, "on-end": command}
    directory, _ = run_local(federation, changes | {"name": "good"})
    outcome, arguments = json.loads(file.read_text())
    assert arguments == ["$HOME; true"]  # there is no shell
    assert outcome == {
        "CONDI_RUN_STATUS": "completed",
        "CONDI_RUN_REASON": "",
        "CONDI_RUN_DIRECTORY": str(directory.path),
        "CONDI_RUN_NAME": "good",
    }
    with pytest.raises(RunError):
        run_local(federation, changes | {"name": "bad", "min-sites": 9})
    outcome, _ = json.loads(file.read_text())
    assert (outcome["CONDI_RUN_STATUS"], outcome["CONDI_RUN_DIRECTORY"]) == ("failed", "")
    assert "expected at least 9 sites" in outcome["CONDI_RUN_REASON"]


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("/bin/false", "ended with status 1"),
        ("/bin/sleep 9", "failed (Command"),
        ("/none", "failed ([Errno 2]"),
    ],
)
def test_a_command_that_fails_or_hangs_is_noted_and_no_more(command, note, capsys, monkeypatch):
    monkeypatch.setattr(end_command, "MAX_SECONDS", 0.1)
    run_end_command(command, status="completed", reason="", directory="/runs/a")
    assert capsys.readouterr().out.startswith(f"note: the command on-end {note}")


def test_a_program_that_is_not_there_is_refused_before_the_run():
    with pytest.raises(RunError, match="on-end names the program /none/such, which cannot be run"):
        require_program("/none/such --to me")
    require_program("")


@pytest.mark.parametrize(
    ("command", "reason"), [("notify me", "absolute path"), ("/bin/echo 'a", "command line")]
)
def test_a_command_needs_a_path_and_closed_quotes(command, reason):
    with pytest.raises(ConfigError, match=f"on-end.*{reason}"):
        validate_settings(flat_defaults() | {"on-end": command})
