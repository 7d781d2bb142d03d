"""The program `condi`: every command is listed, and help appears without the imports that take seconds."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server_app.cli import COMMAND_MODULES, app

SLOW_PACKAGES = {"torch", "flwr", "ray", "mne", "pandas"}

PRINT_HELP = f"""
import sys
from typer.testing import CliRunner
from server_app.cli import app
result = CliRunner().invoke(app, [*sys.argv[1:], "--help"])
assert result.exit_code == 0, result.output
print(*{SLOW_PACKAGES} & sys.modules.keys())
"""


@pytest.mark.parametrize("name", COMMAND_MODULES)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], prog_name="condi")
    assert result.exit_code == 0 and f"Usage: condi {name} " in result.output


def test_help_lists_all_commands() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    assert all(f"│ {name} " in output for name in COMMAND_MODULES)


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["reprot"])
    assert result.exit_code == 2 and result.output.count("'report'") == 1


@pytest.mark.parametrize("name", COMMAND_MODULES)
def test_help_imports_no_slow_package(name: str) -> None:
    result = subprocess.run([sys.executable, "-c", PRINT_HELP, name], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["registry", "--superlink", "localhost:1:2"], 2, "expected HOST:PORT as --superlink"),
        (["submit", "--superlink", "localhost:1:2"], 2, "expected HOST:PORT as --superlink"),
        (["registry", "--superlink", "localhost:1", "--root-certificates", "{}/ca.crt"], 2, "no certificate"),
        (["submit", "--superlink", "localhost:1", "-c", "~nobody-here/a.toml"], 2, "~nobody-here/a.toml"),
        (["run", "--resume", "{}", "--name", "again"], 2, "leave out --out and --name"),
        (["run", "--resume", "{}", "--out", "{}"], 2, "leave out --out and --name"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path, arguments, status, sentence) -> None:
    (tmp_path / "ca.crt").write_text("garbage")
    done = CliRunner().invoke(app, [argument.format(tmp_path) for argument in arguments])
    assert done.exit_code == status and sentence in " ".join(done.output.split())
    assert not done.exception or isinstance(done.exception, SystemExit)


def test_out_decides_where_a_run_is_written(tmp_path, monkeypatch) -> None:
    started = []
    monkeypatch.setattr(
        "server_app.operations.simulate.simulate", lambda settings, **_: started.append(settings)
    )
    monkeypatch.setattr("server_app.operations.simulate.require_startable", lambda settings: None)
    for arguments in (["--out", str(tmp_path / "a"), "-c", "output='/b'"], ["-c", "output='/b'"], []):
        assert CliRunner().invoke(app, ["run", *arguments]).exit_code == 0
    assert [s["output"] for s in started] == [str(tmp_path / "a"), "/b", str(Path("runs").absolute())]


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"condi {version('condi')}\n"
