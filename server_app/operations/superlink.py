"""`condi superlink`: Flower's SuperLink, which waits for its database as long as many sites at once need."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer

BUSY_TIMEOUT_SECONDS = 120  # seconds

superlink = typer.Typer(add_completion=False)


@superlink.command("superlink", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def main(context: typer.Context) -> None:
    """Be Flower's SuperLink, and wait longer for its database. Takes the options of `flower-superlink`."""
    raise_sqlite_busy_timeout()
    sys.argv = ["condi superlink", *context.args]
    (command,) = entry_points(group="console_scripts", name="flower-superlink")
    command.load()()


def raise_sqlite_busy_timeout(seconds: int = BUSY_TIMEOUT_SECONDS) -> None:
    """Wait so long for SQLite's lock in this process, where Flower gives up after five seconds.

    One connection writes at a time. A site whose call fails for that drops what it was about to send, and the
    round waits for it until its time-out.
    """
    from flwr.supercore import sql_mixin

    pragmas = dict(sql_mixin.SQLITE_PRAGMAS) | {"busy_timeout": str(1000 * seconds)}
    sql_mixin.SQLITE_PRAGMAS = tuple(pragmas.items())
