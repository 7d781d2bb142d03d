"""`condi watch`: follow a run in the terminal or on a web page, without changing anything."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.command_line import exit_with

REFRESH_SECONDS = 2.0


def watch(
    run: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the run.")],
    serve: Annotated[bool, typer.Option("--serve", help="Serve a web page instead.")] = False,
    host: Annotated[
        str,
        typer.Option(help="Address of the page. Whoever reaches it sees names and scores of the sites."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 for a free one.")] = 8765,
    once: Annotated[bool, typer.Option("--once", help="Show the run once, and exit.")] = False,
) -> None:
    """Follow a run while it lasts: sites, rounds, metrics, bytes, failures and the time left."""
    from condi_core.run_files import RunFileError
    from server_app.watch.snapshot import take_snapshot

    try:
        take_snapshot(run)  # before anything is shown
        if serve:
            _serve(run, host, port)
        else:
            _show(run, once)
    except RunFileError as error:
        exit_with(1, f"{error}.")
    except KeyboardInterrupt:
        pass


def _serve(run: Path, host: str, port: int) -> None:
    from server_app.watch.server import make_server

    try:
        server = make_server(run, host, port)
    except OSError as error:
        exit_with(1, f"cannot listen at {host}:{port}: {error.strerror}: choose another port by --port.")
    with server:
        typer.echo(f"http://{host}:{server.server_address[1]}/ shows {run}; Ctrl-C ends this.")
        server.serve_forever()


def _show(run: Path, once: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from server_app.watch.snapshot import take_snapshot
    from server_app.watch.terminal import draw

    console = Console(highlight=False)
    if once or not console.is_terminal:
        console.print(draw(take_snapshot(run)))
        return
    with Live(draw(take_snapshot(run)), console=console, auto_refresh=False) as live:
        while (snapshot := take_snapshot(run))["status"] in ("running", "silent"):
            live.update(draw(snapshot), refresh=True)
            time.sleep(REFRESH_SECONDS)
        live.update(draw(snapshot), refresh=True)
