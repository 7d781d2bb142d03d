"""The program `condi`: its sub-commands live in the packages they serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

import click
import typer
from typer.core import TyperGroup

MODULES = {
    "prepare": "data_partitions.cli",
    "run": "server_app.operations.simulate",
    "submit": "server_app.operations.submit",
    "impute": "client_app.inference.impute",
    "predict": "client_app.inference.predict",
    "evaluate": "client_app.inference.evaluate",
    "study": "server_app.study.cli",
    "inspect": "data_partitions.cli",
    "plot": "client_app.inference.plot",
    "report": "server_app.report.commands",
    "compare": "server_app.report.commands",
    "credentials": "server_app.operations.credentials",
    "superlink": "server_app.operations.superlink",
    "site": "client_app.join.launch",
}


class Commands(Mapping[str, click.Command]):
    """Commands by name, each the function or `Typer` of that name in its module.

    A module is imported when its command is asked for: most need torch, which takes seconds.
    """

    def __getitem__(self, name: str) -> click.Command:
        found = getattr(import_module(MODULES[name]), name)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False)
            found.command(name)(function)
        return typer.main.get_command(found)

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class Condi(TyperGroup):
    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.commands = Commands()


app = typer.Typer(
    cls=Condi,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    suggest_commands=False,  # click does it too
)


@app.callback()
def condi() -> None:
    """Federated learning for clinical time series with missingness."""
