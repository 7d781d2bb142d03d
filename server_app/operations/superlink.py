"""`condi superlink`: run Flower's SuperLink with a database time-out that is long enough for many sites."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer

from condi_core.flower_environment import make_flower_environment

BUSY_TIMEOUT_SECONDS = 120

superlink = typer.Typer(add_completion=False)


@superlink.command("superlink", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_superlink(context: typer.Context) -> None:
    """Run Flower's SuperLink with a longer database time-out.

    Takes the options of `flower-superlink`.
    """
    environment = make_flower_environment()
    os.environ.clear()
    os.environ.update(environment)
    raise_sqlite_busy_timeout()
    sys.argv = ["condi superlink", *context.args]
    (command,) = entry_points(group="console_scripts", name="flower-superlink")
    command.load()()


def raise_sqlite_busy_timeout(seconds: int = BUSY_TIMEOUT_SECONDS) -> None:
    """Wait this long for SQLite's lock in this process; Flower gives up after five seconds.

    Only one connection writes at a time. A site whose call fails because of the lock drops the message it was
    about to send, and the round then waits for that site until its time-out.
    """
    from flwr.supercore import sql_mixin

    pragmas = dict(sql_mixin.SQLITE_PRAGMAS) | {"busy_timeout": str(1000 * seconds)}
    sql_mixin.SQLITE_PRAGMAS = tuple(pragmas.items())  # type: ignore[assignment]  # of any length
