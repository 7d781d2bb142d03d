"""The program `condi`: its sub-commands live in the packages they serve."""

from __future__ import annotations

import typer

from client_app.launch import site
from client_app.plot import plot
from data_partitions.cli import inspect, prepare
from server_app.credentials import credentials
from server_app.simulate import run
from server_app.study.cli import study
from server_app.submit import submit

app = typer.Typer(
    help="Federated learning for clinical time series with holes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(prepare, name="prepare")
app.command("run")(run)
app.command("submit")(submit)
app.command("study")(study)
app.command("inspect")(inspect)
app.command("plot")(plot)
app.command("credentials")(credentials)
app.command("site")(site)
