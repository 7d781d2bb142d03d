"""What commands share: errors in one sentence, and progress of what takes time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback as Told


@contextmanager
def one_sentence_errors(*kinds: type[Exception]) -> Iterator[None]:
    """What is expected to go wrong, and the given kinds, end the command with one line and exit code 1."""
    try:
        yield
    except ValidationError as error:  # such as a name in the source that cannot become a folder's
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        typer.echo(f"Error: {where}: {first['msg']}, got {first['input']!r}", err=True)
        raise typer.Exit(1) from None
    except (DataError, OSError, *kinds) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def progress_bars() -> Iterator[Told]:
    """A bar on the terminal for each thing that is told of; none where output goes elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        bar_of: dict[str, int] = {}

        def progress(what: str, done: float, total: float) -> None:
            if what not in bar_of:
                bar_of[what] = bars.add_task(what)
            bars.update(bar_of[what], completed=done, total=total)

        yield progress
