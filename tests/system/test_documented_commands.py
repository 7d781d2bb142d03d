"""The commands in the README and in docs have the names and options of the program."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from server_app.cli import app

PROJECT = Path(__file__).parents[2]
DOCUMENTS = [PROJECT / name for name in ("README.md", "docs/own-data.md", "docs/deployment.md")]


def commands(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("condi ")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_and_options_exist(path):
    assert commands(path)
    for line in commands(path):
        _, *words = shlex.split(line, comments=True)
        command = typer.main.get_command(app)
        while words and hasattr(command, "commands"):
            name = "dataset.toml" if words[0].endswith(".toml") else words[0]
            assert name in command.commands, line
            command = command.commands[name]
            words = words[1:] if name == words[0] else words
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        passes_on = command.context_settings.get("ignore_unknown_options", False)  # to Flower's program
        assert used <= known or passes_on, f"{line}: {used - known}"
