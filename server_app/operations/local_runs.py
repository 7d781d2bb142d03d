"""`condi ps` and `condi stop`: what runs in simulation for this user on this machine, and its end."""

from __future__ import annotations

from typing import Annotated

import typer

from server_app.operations.command_line import exit_with
from server_app.operations.flower_processes import FlowerError

HEADINGS = ("run", "status", "started by", "process", "for", "port", "code from")


def ps() -> None:
    """Show the simulations of this user on this machine, and the SuperLinks that `flwr run` left running."""
    from data_partitions.table import Table
    from server_app.operations.local_superlinks import find_local_superlinks

    rows = []
    try:
        for link in find_local_superlinks():
            about = [
                link.starter,
                str(link.process.pid),
                _duration(link.process.seconds),
                str(link.port),
                link.code,
            ]
            try:
                runs = [(run["run-id"], run["status"]) for run in link.runs()] or [("none", "")]
            except FlowerError as error:
                runs = [("unknown", f"no answer: {error}")]
            rows += [[*run, *about] for run in runs]
    except FlowerError as error:
        exit_with(1, str(error))
    if rows:
        typer.echo(Table("", HEADINGS, rows).to_text(width=None))
    else:
        typer.echo("No simulation of this user runs on this machine, and no SuperLink for simulations.")


def stop(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN_ID...", help="Runs to stop, as `condi ps` shows them.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Stop all, and end the SuperLinks that `flwr run` or a killed `condi run` left running.",
        ),
    ] = False,
) -> None:
    """Stop simulations of this user on this machine."""
    from server_app.operations.local_superlinks import find_local_superlinks

    if everything == bool(runs):
        exit_with(2, "name the runs to stop, which `condi ps` shows, or give --all.")
    missing = set(runs or ())
    try:
        for link in find_local_superlinks():
            for run in link.runs() if runs or not link.is_left_over else ():
                if everything or run["run-id"] in missing:
                    link.stop_run(run["run-id"])
                    missing.discard(run["run-id"])
                    typer.echo(f"stopped run {run['run-id']}")
            if everything and link.is_left_over:
                link.end()
                typer.echo(
                    f"ended the SuperLink at port {link.port} and what it ran, process {link.process.pid}"
                )
    except FlowerError as error:
        exit_with(1, str(error))
    if missing:
        exit_with(
            1, f"no run {', '.join(sorted(missing))} is in progress here: `condi ps` shows those that are."
        )


def _duration(seconds: int) -> str:
    minutes, hours = seconds // 60, seconds // 3600
    return (
        f"{seconds} s" if not minutes else f"{minutes} min" if not hours else f"{hours} h {minutes % 60} min"
    )
