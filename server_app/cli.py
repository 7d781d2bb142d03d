"""The program `condi`: its sub-commands are in the packages that they serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

# The module of each command. It holds options and help, and imports what computes inside the command's
# function: torch, which most commands need, takes seconds to import.
COMMAND_MODULES = {
    "dataset": "data_partitions.dataset_cli",
    "prepare": "data_partitions.cli",
    "run": "server_app.operations.simulate",
    "submit": "server_app.operations.submit",
    "ps": "server_app.operations.local_runs",
    "stop": "server_app.operations.local_runs",
    "impute": "client_app.inference.commands",
    "predict": "client_app.inference.commands",
    "evaluate": "client_app.inference.commands",
    "study": "server_app.study.cli",
    "inspect": "data_partitions.cli",
    "plot": "client_app.inference.commands",
    "watch": "server_app.watch.commands",
    "sites": "server_app.watch.sites",
    "report": "server_app.report.commands",
    "card": "server_app.report.commands",
    "compare": "server_app.report.commands",
    "credentials": "server_app.operations.issue_credentials",
    "superlink": "server_app.operations.superlink",
    "superexec": "client_app.join.superexec",
    "registry": "server_app.operations.registry",
    "site": "client_app.join.launch",
    "cache": "client_app.cache_cli",
    "audit": "client_app.join.audit",
}


class LazyCommands(Mapping[str, click.Command]):
    """Commands by name: each is the function or `Typer` of that name in its module, imported on first use."""

    def __getitem__(self, name: str) -> click.Command:
        command = getattr(import_module(COMMAND_MODULES[name]), name)
        if not isinstance(command, typer.Typer):
            function, command = command, typer.Typer(add_completion=False)
            command.command(name)(function)
        return typer.main.get_command(command)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMAND_MODULES)

    def __len__(self) -> int:
        return len(COMMAND_MODULES)


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are needed."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands()  # type: ignore[assignment]  # click only reads it


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    suggest_commands=False,  # click suggests commands as well
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"condi {version('condi')}")
        raise typer.Exit


@app.callback()
def condi(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Federated learning for clinical time series with missing samples, stretches or signals."""
