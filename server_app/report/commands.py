"""`condi report`, `card` and `compare`: read finished and unfinished runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

BAR_DELAY_SECONDS = 2.0  # before a progress bar appears


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
    """Write the report of a run: one page to open in a browser.

    RUN is the folder of the run, such as runs/demo.

    The page has the participating sites, loss and metrics of each round, test
    scores compared with naive baselines, ROC curves and calibration, the scores
    and gains of each site, cost, settings and versions. Every run writes its
    report when it ends; this command writes it again, also for a run that is
    unfinished.

    Windows are drawn where the data are: on the machine of a simulation, or of
    the sites that are named by --data. Such a page shows patients' records and
    must be protected as these are.

    Example: condi report runs/demo && xdg-open runs/demo/report.html
    """
    from server_app.report.page import write_report

    with _exit_on_report_error(), _progress_bar("windows") as progress:
        path = write_report(run, data, out, progress=progress)
    typer.echo(path)


def card(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    contact: Annotated[
        str, typer.Option(help="Who answers questions about the models: name, institution, e-mail address.")
    ] = "",
    model_license: Annotated[
        str, typer.Option("--license", help="Licence of the models as the Hugging Face Hub names it.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write; default: model-card.md in the run.")
    ] = None,
) -> None:
    """Write the model card of a run again, with contact and licence.

    RUN is the folder of the run, such as runs/demo.

    The card states intended use, training data, test results, limits and how to
    load the models. It begins with the metadata that the Hugging Face Hub reads,
    so that the card is the README.md of a repository of models. Every run writes
    its card when it ends. What you wrote into that file yourself is replaced.

    Example: condi card runs/demo --contact "A. Ray, ab@hospital.org" --license cc-by-4.0
    """
    from condi_core.run_files import MODEL_CARD_FILE
    from server_app.artifacts.run_record import read_run
    from server_app.report.model_card import model_card
    from server_app.report.page import write_page

    with _exit_on_report_error():
        path = write_page(out or run / MODEL_CARD_FILE, model_card(read_run(run), contact, model_license))
    typer.echo(path)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of at least two runs.")],
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Page with figures to write as well.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare runs: settings that differ, ranking, test scores, and cost.

    RUNS are the folders of at least two runs. Runs that differ only in their
    seed are one group, with mean and standard deviation. Differences are from
    the first run or group. A folder that cannot be read is left out and named,
    and the exit code is then 1.

    Example: condi compare runs/demo runs/more-rounds --out compare.html
    """
    from server_app.artifacts.run_record import ReportError
    from server_app.report.compared_runs import group_runs, read_compared_run
    from server_app.report.comparison import as_json as json_of
    from server_app.report.comparison import comparison_text
    from server_app.report.comparison_page import comparison_page
    from server_app.report.page import write_page

    readable, unreadable = [], {}
    for run in runs:
        try:
            readable.append(read_compared_run(run))
        except ReportError as error:
            unreadable[str(run)] = str(error)
    with _exit_on_report_error():
        if len(readable) < 2:
            reasons = "; ".join(unreadable.values())
            raise ReportError(reasons or "one run cannot be compared: name at least two")
        groups = group_runs(readable)
        if out:
            typer.echo(write_page(out, comparison_page(groups, unreadable)), err=True)
        width = shutil.get_terminal_size().columns
        typer.echo(json_of(groups, unreadable) if as_json else comparison_text(groups, width))
    for reason in unreadable.values():
        typer.echo(f"Left out: {reason}", err=True)
    if unreadable:
        raise typer.Exit(1)


@contextmanager
def _exit_on_report_error() -> Iterator[None]:
    """End the command with status 1 and one sentence when a run cannot be read."""
    from server_app.artifacts.run_record import ReportError

    try:
        yield
    except ReportError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal's standard error, once the work has taken a while."""
    from rich.console import Console
    from rich.progress import Progress

    started = time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, visible=False)

        def update(completed: int, total: int) -> None:
            late = time.monotonic() - started > BAR_DELAY_SECONDS
            bar.update(task, completed=completed, total=total, visible=late)

        yield update
