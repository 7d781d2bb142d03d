"""Errors in one sentence and progress bars, which all commands share."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.table import printable

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def one_sentence_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End the command with one line and exit status 1 on DataError, OSError and the given kinds of errors."""
    from pydantic import ValidationError  # slow to import, and the help of commands does not need it

    expected: tuple[type[Exception], ...] = (DataError, OSError, *kinds)
    try:
        yield
    except ValidationError as error:  # such as a name in the source that cannot become that of a folder
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        echo_line(f"Error: {key}: {first['msg']}, got {first['input']!r}", err=True)
        raise typer.Exit(1) from None
    except expected as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            place = f" at {error.filename}" if error.filename else ""
            error = DataError(f"{error.strerror}{place}: free some space and repeat the command")
        echo_line(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def echo_line(text: str, err: bool = False) -> None:
    """Print a sentence with texts of files, such as names and cells, which must not control the terminal."""
    typer.echo(printable(text), err=err)


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """Yield a callback that draws a bar for each step of the work, where the output is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        bar_of_step: dict[str, TaskID] = {}

        def show_progress(step: str, done: float, total: float) -> None:
            if step not in bar_of_step:
                bar_of_step[step] = bars.add_task(step)
            bars.update(bar_of_step[step], completed=done, total=total)

        yield show_progress
