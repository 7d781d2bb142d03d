"""`condi sites`: the sites of a run, and which of them are drained for maintenance."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.command_line import exit_with

POLL_SECONDS = 1.0


def sites(
    run: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the run.")],
    drain: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="Do not ask this site any more; repeatable.")
    ] = None,
    readmit: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="Ask this site again; repeatable.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the drained sites have finished what they do.")
    ] = False,
) -> None:
    """Show the sites of a run; drain some for maintenance, and let them back.

    A drained site finishes its current message and is not asked from then
    on, until it is readmitted. The run goes on with the others.
    """
    from condi_core.run_files import RunFileError, read_config
    from data_partitions.table import Table
    from server_app.artifacts.participation import read_drained, write_drained
    from server_app.watch.snapshot import take_snapshot

    try:
        names = {site["name"] for site in take_snapshot(run)["sites"]}
        if unknown := sorted({*(drain or ()), *(readmit or ())} - names):
            exit_with(2, f"{run} has no site {', '.join(unknown)}: it has {', '.join(sorted(names))}.")
        if drain and read_config(run).secure_aggregation:
            exit_with(
                2, "no site can be drained: the sums of secure aggregation are over all sites of the run."
            )
        if drain or readmit:
            write_drained(run, (read_drained(run) | set(drain or ())) - set(readmit or ()))
        drained = read_drained(run)
        while wait and (working := _working(take_snapshot(run), drained)):
            typer.echo(f"waiting for {', '.join(working)}")
            time.sleep(POLL_SECONDS)
        rows = [
            [site["name"], site["state"], "drained" if site["name"] in drained else ""]
            for site in take_snapshot(run)["sites"]
        ]
    except (RunFileError, OSError) as error:
        exit_with(1, f"{error}.")
    typer.echo(Table("", ["site", "state", "maintenance"], rows).to_text(width=None))


def _working(snapshot: dict, drained: set[str]) -> list[str]:
    """Return the drained sites that still work on a message."""
    from server_app.watch.snapshot import TASKS

    return [
        site["name"]
        for site in snapshot["sites"]
        if site["name"] in drained and site["state"] in TASKS.values()
    ]
