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
    admit: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE", help="Let this site join the run, from the next round on; repeatable."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the drained sites have finished what they do.")
    ] = False,
) -> None:
    """Show the sites of a run; drain some, let them back, and let others join.

    A drained site finishes its current message and is not asked from then
    on, until it is readmitted. The run goes on with the others. A site that
    joins must be connected, and its data must fit those of the others.
    """
    from condi_core.run_files import RunFileError, read_config
    from data_partitions.table import Table
    from server_app.artifacts.participation import change_drained, read_drained, read_joining
    from server_app.watch.snapshot import take_snapshot

    try:
        names = {site["name"] for site in take_snapshot(run)["sites"]}
        if unknown := sorted({*(drain or ()), *(readmit or ())} - names):
            exit_with(2, f"{run} has no site {', '.join(unknown)}: it has {', '.join(sorted(names))}.")
        if drain and read_config(run).secure_aggregation:
            exit_with(
                2, "no site can be drained: the sums of secure aggregation are over all sites of the run."
            )
        if admit:
            _request_to_join(run, admit, take_snapshot(run))
        if drain or readmit:
            change_drained(run, drain or (), readmit or ())
        drained = read_drained(run)
        joining = read_joining(run)
        while wait and (working := _working(take_snapshot(run), drained)):
            typer.echo(f"waiting for {', '.join(working)}")
            time.sleep(POLL_SECONDS)
        rows = [
            [site["name"], site["state"], "drained" if site["name"] in drained else ""]
            for site in take_snapshot(run)["sites"]
        ]
        rows += [[name, "joins before the next round", ""] for name in sorted(joining)]
    except (RunFileError, OSError) as error:
        exit_with(1, f"{error}.")
    typer.echo(Table("", ["site", "state", "maintenance"], rows).to_text(width=None))


def _request_to_join(run: Path, names: list[str], snapshot: dict) -> None:
    """Note that sites are to join, unless no site can."""
    from condi_core.run_files import read_config, read_roster
    from server_app.artifacts.participation import change_joining
    from server_app.federation.roster_collection import joining_obstacle

    if known := sorted(set(names) & read_roster(run).keys()):
        exit_with(2, f"{', '.join(known)} take{'' if known[1:] else 's'} part in {run} already.")
    if obstacle := joining_obstacle(read_config(run)):
        exit_with(2, f"no site can join a run {obstacle}.")
    if snapshot["status"] != "running":
        exit_with(2, f"{run} has ended: resume it with the names of all sites in `sites`.")
    change_joining(run, names)


def _working(snapshot: dict, drained: set[str]) -> list[str]:
    """Return the drained sites that still work on a message."""
    from server_app.watch.snapshot import TASKS

    return [
        site["name"]
        for site in snapshot["sites"]
        if site["name"] in drained and site["state"] in TASKS.values()
    ]
