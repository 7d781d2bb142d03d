"""The program `condi`: every command is there, and only the one asked for is imported."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from server_app.cli import MODULES, app

LIGHT = ["prepare", "run", "submit", "inspect", "credentials"]


@pytest.mark.parametrize("name", MODULES)
def test_every_command_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], prog_name="condi")
    assert shown.exit_code == 0 and f"Usage: condi {name} " in shown.output


def test_help_lists_all_commands() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    assert all(f"│ {name} " in listed for name in MODULES)


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    refused = CliRunner().invoke(app, ["reprot"])
    assert refused.exit_code == 2 and refused.output.count("'report'") == 1


@pytest.mark.parametrize("name", LIGHT)
def test_commands_without_tensors_start_without_torch(name: str) -> None:
    imported = f"from server_app.cli import Commands; Commands()[{name!r}]"
    check = f"{imported}; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
