"""`condi report` and `condi compare`: what a coordinator types after a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from server_app.artifacts.run_record import ReportError, read_run
from server_app.report import comparison
from server_app.report.page import write_page, write_report
from server_app.report.windows import Progress

PATIENCE = 2.0  # seconds before a bar is shown


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="SITE", help="Partition of a site, to draw its test windows from; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write; default: report.html in the run.")
    ] = None,
) -> None:
    """Write one page of all that is known of a run, to open in a browser.

    RUN is its folder, such as runs/demo.

    It has who took part, loss and metrics of each round, test scores beside
    naive rows, ROC curves and calibration, each site's scores and gains, cost,
    settings and versions. Every run leaves one at its end; this makes it anew,
    also of a run that is unfinished.

    Windows are drawn where the data are: on the machine of a simulation, or of
    the sites named by --data. Such a page shows records of patients and is to
    be kept as these are.

    Example: condi report runs/demo && xdg-open runs/demo/report.html
    """
    with _errors(), _bar("windows") as progress:
        path = write_report(run, data, out, progress=progress)
    typer.echo(path)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two runs or more.")],
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page with figures as well.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON rather than as tables.")] = False,
) -> None:
    """Put runs side by side: settings that differ, test scores, and cost.

    RUNS are the folders of two runs or more.

    Example: condi compare runs/demo runs/more-rounds --out compare.html
    """
    with _errors():
        if len(runs) < 2:
            raise ReportError("one run cannot be compared: name two or more")
        found = [read_run(run) for run in runs]
        if out:
            typer.echo(write_page(out, comparison.comparison_page(found)), err=True)
        if as_json:
            typer.echo(comparison.as_json(found))
        else:
            comparison.print_tables(found, Console())


@contextmanager
def _errors() -> Iterator[None]:
    """Say what is wrong in a sentence and leave with 1."""
    try:
        yield
    except ReportError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """A bar on standard error, shown when the work takes longer than one waits without it."""
    started = time.monotonic()
    with Bar(
        console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal
    ) as bar:
        task = bar.add_task(what, visible=False)

        def progress(done: int, all_: int) -> None:
            late = time.monotonic() - started > PATIENCE
            bar.update(task, completed=done, total=all_, visible=late)

        yield progress
