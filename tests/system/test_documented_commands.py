"""Commands in documents have the names, options and values of the program, and settings of a run exist."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from condi_core.config import RunConfig
from condi_core.missingness.specification import Missingness
from server_app.cli import app
from server_app.operations.run_config import default_settings, read_run_config
from tests.helpers.documents import DOCUMENTS, name_of, read_blocks, read_lines

LANGUAGES = {"bash", "python", "toml", "text"}
ENDS_OF_A_COMMAND = {">", "2>&1", "|", "&", "&&", "||", ";", ">>"}
PLACEHOLDER = re.compile(r"[A-Z_]+")  # such as RUN_ID, for a value of the reader's


def commands(path: Path) -> list[str]:
    lines = [line.strip() for block in read_blocks(path, "bash") for line in read_lines(block)]
    return [line for line in lines if line.startswith("condi ")]


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that is called, and the words that are for it."""
    command = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        name = "dataset.toml" if words[0].endswith(".toml") else words[0]
        if name not in command.commands:
            break
        command = command.commands[name]
        words = words[1:] if name == words[0] and name != "dataset.toml" else words
    return command, words


def parse(line: str) -> dict[str, object]:
    """Return the values of a command's parameters by name, converted as the program does; or fail."""
    words = shlex.split(line, comments=True)[1:]
    end = next((i for i, word in enumerate(words) if word in ENDS_OF_A_COMMAND), len(words))
    command, words = find_command(words[:end])
    is_group = hasattr(command, "commands")
    assert not (is_group and words and not words[0].startswith("-")), f"{line}: there is no such command"
    context = click.Context(command, **command.context_settings)
    stated, rest, _ = command.make_parser(context).parse_args(args=[word for word in words if word != "..."])
    assert is_group or not rest or context.allow_extra_args, f"{line}: unexpected {rest}"
    values: dict[str, object] = {k: v for k, v in stated.items() if isinstance(v, str | bool | list | tuple)}
    # "..." stands for options that were shown before; an eager option such as --version needs no others
    is_complete = "..." not in words and not any(p.is_eager and p.name in values for p in command.params)
    for parameter in command.params:
        value = values.get(parameter.name)
        assert value or not parameter.required or not is_complete, f"{line}: no {parameter.name}"
        if isinstance(value, str) and PLACEHOLDER.fullmatch(value):
            continue
        if value and not isinstance(parameter.type, click.Path):
            values[parameter.name] = parameter.type_cast_value(context, value)
    return values


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_blocks_name_their_language(path):
    assert {block.language for block in read_blocks(path)} <= LANGUAGES


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if commands(path)], ids=name_of)
def test_commands_and_their_settings_are_those_of_the_program(path):
    for line in commands(path):
        try:
            entries = parse(line).get("run_config") or ()
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")
        stated = [
            entry for entry in entries if not entry.endswith(".toml")
        ]  # which are files of the reader's
        settings = default_settings() | read_run_config(stated)
        RunConfig.from_flat(settings)
        Missingness.from_settings({k[12:]: v for k, v in settings.items() if k.startswith("missingness.")})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("condi run --nodes many", "not a valid int"),
        ("condi run --nams demo", "No such option"),
        ("condi nothing", "no such command"),
        ("condi compare", "no runs"),
    ],
)
def test_a_wrong_command_is_noticed(line, message):
    with pytest.raises((click.UsageError, AssertionError), match=message):
        parse(line)
