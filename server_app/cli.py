"""The program `condi`: its sub-commands live in the packages they serve."""

from __future__ import annotations

import typer

from client_app.evaluate import evaluate
from client_app.impute import impute
from client_app.launch import site
from client_app.plot import plot
from client_app.predict import predict
from data_partitions.cli import inspect, prepare
from server_app.credentials import credentials
from server_app.report.commands import compare, report
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
app.command("impute")(impute)
app.command("predict")(predict)
app.command("evaluate")(evaluate)
app.command("study")(study)
app.command("inspect")(inspect)
app.command("plot")(plot)
app.command("report")(report)
app.command("compare")(compare)
app.command("credentials")(credentials)
app.command("site")(site)
