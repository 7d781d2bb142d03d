"""Write the reference at build: settings from pyproject.toml and their models, commands from typer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.structure.pages import Page

from condi_core.config import RunConfig
from condi_core.missingness.registry import SETTINGS
from server_app.cli import app

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
SECTION = re.compile(r"^\[tool\.flwr\.app\.config(?:\.(?P<table>[\w-]+))?\] *(?:# *(?P<meaning>.*))?$")
SETTING = re.compile(r'^(?P<name>[\w-]+) = (?P<default>"[^"]*"|\S+) *(?:# *(?P<meaning>.*))?$')

ALTERNATIVES = re.compile(r"^([\w.-]+ \| )+[\w.-]+(: |$)")  # at the start of a meaning; the models have them


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Put a table in place of its mark."""
    for name, write in {"settings": write_settings, "commands": write_commands}.items():
        mark = f"<!-- generated: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(write()))
    return markdown


def write_settings() -> Iterator[str]:
    """Yield the lines of a table for each section of the settings."""
    schema = RunConfig.model_json_schema()
    table, is_inside = "", False
    for line in PYPROJECT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = SECTION.match(line)
            is_inside = section is not None
            if section:
                table = section["table"] or ""
                yield from ["", f"## `{table}`" if table else "## Run", ""]
                yield from [_sentence(section["meaning"]), ""] if section["meaning"] else []
                yield from ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
        elif is_inside and (setting := SETTING.match(line)):
            name = f"{table}.{setting['name']}" if table else setting["name"]
            meaning = ALTERNATIVES.sub("", setting["meaning"] or "")
            cells = (f"`{name}`", f"`{setting['default']}`", _allowed(schema, name), meaning)
            yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _allowed(schema: dict[str, Any], name: str) -> str:
    """Return the values of a setting that its model allows, in words; empty for any text."""
    table, _, leaf = name.rpartition(".")
    if table == "missingness":
        return SETTINGS[leaf].expected
    if table:
        schema = schema["$defs"][schema["properties"][table]["$ref"].rpartition("/")[2]]
    values = schema["properties"][leaf]
    if "enum" in values:
        return ", ".join(f"`{value}`" if value else '`""`' for value in values["enum"])
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = [f"{sign} {values[key]:g}" for key, sign in bounds.items() if key in values]
    kinds = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    return " ".join([kinds.get(values.get("type", ""), ""), " and ".join(limits)]).strip()


def write_commands() -> Iterator[str]:
    """Yield the lines of a section for each command."""
    yield from _write_command(typer.main.get_command(app), "condi", 1)


def _write_command(command: click.Command, path: str, level: int) -> Iterator[str]:
    subcommands = getattr(command, "commands", {})
    if level > 1:
        yield from ["", f"{'#' * level} `{path}`", ""]
        yield from [_text(command.help or ""), ""]
    if not subcommands:
        pieces = command.collect_usage_pieces(click.Context(command, info_name=path))
        yield from ["```text", f"{path} {' '.join(pieces)}", "```", ""]
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        options = [option for option in options if not option.hidden and option.name != "help"]
        if options:
            yield from ["| option | meaning | default |", "|---|---|---|"]
            yield from (_option_row(option) for option in options)
    for name in subcommands:
        yield from _write_command(subcommands[name], f"{path} {name}", min(level + 1, 4))


def _option_row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    kind = "" if option.is_flag else f" {option.type.name.upper()}"
    choices = getattr(option.type, "choices", ())
    if choices:
        kind = " " + " / ".join(str(getattr(choice, "value", choice)) for choice in choices)
    return f"| {names}{kind} | {_cell(_text(option.help or ''))} | {_cell(_default(option))} |"


def _default(option: click.Option) -> str:
    """Return the default of an option, or that it is required."""
    value = getattr(option.default, "value", option.default)  # of an enumeration
    if option.required:
        return "required"
    return f"`{value}`" if isinstance(value, str | int | float) and value is not False and value != "" else ""


def _text(help_text: str) -> str:
    """Return a help text as Markdown: no marks of click, and no characters that would be markup."""
    text = help_text.replace("\b", "").strip()
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
