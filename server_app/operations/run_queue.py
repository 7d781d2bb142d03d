"""Runs of one federation one after the other, in the order in which they were submitted.

Each run holds the lock of a ticket, a file in the folder of run directories, until it ends. The system
releases the lock of a process however it ends, so that no failed or killed run keeps the others waiting.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_partitions.sentences import count_noun
from server_app.errors import RunError

QUEUE_FOLDER = ".queue"  # in the folder of run directories
POLL_SECONDS = 2.0
MUTEX_FILE = "mutex"  # whose lock a run holds while it makes its ticket or looks at those of others


@contextmanager
def wait_for_turn(output: Path, check: Callable[[], object]) -> Iterator[None]:
    """Wait until all runs that queued earlier have ended, and keep later ones waiting during the block.

    Parameters
    ----------
    output : Path
        The folder of run directories, which all runs of the queue have in common.
    check : callable
        Called now and then while waiting; raises when this run was stopped.

    Raises
    ------
    RunError
        The folder cannot be written.
    """
    folder = output / QUEUE_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _mutex(folder):
            ticket = folder / f"{time.time_ns():020d}-{os.getpid()}"
            descriptor = os.open(ticket, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise RunError(
            f"cannot queue in {folder} ({error.strerror}): choose another folder with output, or set "
            "queue=false"
        ) from None
    try:
        num_earlier = 0
        while earlier := _earlier_runs(ticket):
            check()
            if len(earlier) != num_earlier:
                num_earlier = len(earlier)
                print(f"queued behind {count_noun(num_earlier, 'run')} in {output}", flush=True)
            time.sleep(POLL_SECONDS)
        yield
    finally:
        with suppress(OSError):
            ticket.unlink()
        os.close(descriptor)


def _earlier_runs(ticket: Path) -> list[str]:
    """Return the tickets before this one whose runs have not ended, and remove the others."""
    alive = []
    with _mutex(ticket.parent):
        for other in sorted(path for path in ticket.parent.iterdir() if path.name < ticket.name):
            with suppress(FileNotFoundError):
                descriptor = os.open(other, os.O_RDWR)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    other.unlink(missing_ok=True)
                except BlockingIOError:
                    alive.append(other.name)
                finally:
                    os.close(descriptor)
    return alive


@contextmanager
def _mutex(folder: Path) -> Iterator[None]:
    """Let one process at a time make or look at tickets."""
    with open(folder / MUTEX_FILE, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
