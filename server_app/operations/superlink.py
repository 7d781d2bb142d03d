"""`condi superlink`: run Flower's SuperLink with a database that serves many sites."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import Any

import typer

from condi_core.flower_environment import make_flower_environment

BUSY_TIMEOUT_SECONDS = 120

superlink = typer.Typer(add_completion=False)


@superlink.command("superlink", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_superlink(context: typer.Context) -> None:
    """Run Flower's SuperLink with a database that serves many sites.

    Takes the options of `flower-superlink`.
    """
    environment = make_flower_environment()
    os.environ.clear()
    os.environ.update(environment)
    raise_sqlite_busy_timeout()
    use_single_connection()
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


def use_single_connection(seconds: int = BUSY_TIMEOUT_SECONDS) -> None:
    """Let the threads of this process take turns with one connection of each of Flower's stores.

    Nested sessions of two stores with the same database share one connection, so that none waits for another.
    With several connections, threads sleep while they wait for SQLite's lock, up to 0.1 s after it is free.
    A thread that waits for a connection is woken at once.
    """
    from flwr.supercore import sql_mixin

    create_engine = sql_mixin.create_engine

    def create(url: Any, **options: Any) -> Any:
        if "poolclass" not in options:
            options |= {"pool_size": 1, "max_overflow": 0, "pool_timeout": seconds}
        return create_engine(url, **options)

    sql_mixin.create_engine = create
