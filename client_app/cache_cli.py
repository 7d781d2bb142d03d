"""The commands `condi cache`: completed windows that sites of this user have stored."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from data_partitions.console import one_sentence_errors

BYTES_PER_MB = 1_000_000

cache = typer.Typer(name="cache", add_completion=False)
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of `condi site --cache`. Default: in the user's cache folder."),
]


@cache.callback(invoke_without_command=True)
def _show(
    context: typer.Context,
    folder: CacheOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the completed windows that a site has stored, by partition: size and time of the last use.

    They are removed when their partition changes or is gone. A site that needs them again is sent the
    imputer, and completes its windows again.

    Example: condi cache --cache /var/lib/condi/completed
    """
    context.obj = folder
    if context.invoked_subcommand:
        return
    from client_app.node.completion_cache import list_cached
    from data_partitions.table import Cell, Table

    folder = _folder(folder)
    with one_sentence_errors():
        cached = list_cached(folder)
    if as_json:
        partitions = [
            {"paths": c.paths, "completions": c.completions, "bytes": c.size, "last_used": c.last_used}
            for c in cached
        ]
        typer.echo(json.dumps({"cache": str(folder), "partitions": partitions}))
        return
    rows = [
        (
            "\n".join(c.paths) or "of an earlier version",
            c.completions,
            Cell(f"{c.size / BYTES_PER_MB:.1f}", c.size),
            f"{datetime.fromtimestamp(c.last_used):%Y-%m-%d %H:%M}",
        )
        for c in cached
    ]
    columns = ("partition", "splits", "MB", "last used")
    typer.echo(Table(f"Completed windows in {folder}", columns, rows).to_text(width=None))


@cache.command("clear")
def _clear(context: typer.Context, folder: CacheOption = None) -> None:
    """Remove all completed windows; partitions and runs stay as they are."""
    from client_app.node.completion_cache import clear_cache, list_cached

    folder = _folder(folder or context.obj)
    with one_sentence_errors():
        before = sum(c.size for c in list_cached(folder))
        clear_cache(folder)
        after = sum(c.size for c in list_cached(folder))
    typer.echo(f"removed {(before - after) / BYTES_PER_MB:.1f} MB of completed windows from {folder}")


def _folder(folder: Path | None) -> Path:
    from client_app.node.completion_cache import default_cache

    return Path(os.path.expanduser(folder or default_cache())).absolute()
