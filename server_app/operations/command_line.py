"""What the commands that start runs share: their options, and how they end."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from server_app.operations.flower_processes import FlowerError
from server_app.operations.run_config import RunRejectedError
from server_app.operations.run_log import ReadableLog, RunFailedError, save_failure_log

RunConfigEntries = Annotated[
    list[str] | None,
    typer.Option(
        "--run-config",
        "-c",
        help="Settings: \"key=value key2='some text'\", or a TOML file; repeatable.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the reason when a run fails.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print the whole log.")]
Nodes = Annotated[int, typer.Option(min=1, help="Number of virtual nodes.")]
CpusPerNode = Annotated[int, typer.Option(min=1, help="Number of CPUs a node computes with.")]
GpusPerNode = Annotated[float, typer.Option(min=0, help="Number of GPUs a node computes with, such as 0.5.")]


def line_printer(log: ReadableLog, quiet: bool, verbose: bool) -> Callable[[str], None]:
    """Return the function that prints lines of a run's log, according to the command's options."""
    if quiet:
        return lambda line: None
    return partial(print, flush=True) if verbose else log


def exit_on_signals() -> None:
    """Exit cleanly on SIGTERM and SIGHUP, as on Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def exit_with(status: int, message: str) -> NoReturn:
    """End the command with an exit status, and with an error message unless that is empty."""
    if message:
        typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(status)


@contextmanager
def exit_on_run_errors(
    log: ReadableLog, *, superlink: str = "", failure_logs: Path | None = None
) -> Iterator[None]:
    """End the command in one sentence when a run cannot start, fails, or is interrupted.

    The exit status is 2 when the settings were refused, 1 when the run failed, and 130 on Ctrl-C.

    Parameters
    ----------
    log : what has been printed; a reason that stands there already is not printed again
    superlink : address to name when a SuperLink does not answer
    failure_logs : folder in which the log of an unforeseen failure is kept; None to keep none
    """
    try:
        yield
    except RunRejectedError as error:
        exit_with(2, str(error))
    except FlowerError as error:
        exit_with(
            1, f"{superlink} refused the request or does not answer: {error}" if superlink else str(error)
        )
    except RunFailedError as error:
        path = save_failure_log(error.log, failure_logs) if failure_logs else None
        if path is not None:
            exit_with(1, f"{error} (log: {path})")
        # The first letter of the reason has become a capital.
        is_printed = log.last and log.last.casefold() in str(error).casefold()
        exit_with(1, "" if is_printed else str(error))
    except KeyboardInterrupt:
        exit_with(130, "stopped.")
