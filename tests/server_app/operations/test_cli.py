"""The program `condi`: every command is listed, and help appears without the imports that take seconds."""

import subprocess
import sys
from importlib.metadata import version

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


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"condi {version('condi')}\n"
