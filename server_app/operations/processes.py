"""Find processes of this user, and end them in order: SIGTERM, and SIGKILL for those that remain."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

END_SECONDS = 3  # time that processes have to end after each signal
# The same for `ps` on Linux and macOS.
COLUMNS = ("pid", "ppid", "user", "etime", "stat", "args")
ENDED = "Z"  # the state of a process that has ended, and whose parent has not noticed


class Process(NamedTuple):
    """A running process: its id, that of its parent, its age in seconds, and its command line."""

    pid: int
    parent: int
    seconds: int
    command: list[str]


def list_processes() -> dict[int, Process]:
    """Return the processes of this user by id.

    Raises
    ------
    FileNotFoundError
        There is no program `ps`.
    """
    listed = subprocess.run(
        ["ps", "-A", "-ww", *(option for name in COLUMNS for option in ("-o", f"{name}="))],
        capture_output=True, text=True, errors="replace", check=True,
    )  # fmt: skip
    me = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    users = {me, str(os.getuid())}  # `ps` shows the number of a user whose name is long or unknown
    listing = {}
    for line in listed.stdout.splitlines():
        pid, parent, user, age, state, *command = line.split()
        if user in users and not state.startswith(ENDED):
            listing[int(pid)] = Process(int(pid), int(parent), _seconds(age), command)
    return listing


def descendants(pid: int, processes: dict[int, Process]) -> set[int]:
    """Return the ids of a process and of all processes that descend from it."""
    family, grown = {pid}, True
    while grown:
        children = {p.pid for p in processes.values() if p.parent in family}
        grown = not children <= family
        family |= children
    return family


def pids_with_environment(variable: str) -> set[int]:
    """Return the ids of processes that were started with this environment variable (none outside Linux)."""
    pids = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in environment.read_bytes().split(b"\0"):
                pids.add(int(environment.parent.name))
        except OSError:
            continue  # the process has ended, or it belongs to another user
    return pids


def pids_with_working_directory(folder: Path) -> set[int]:
    """Return the ids of processes whose working directory is a folder (none outside Linux)."""
    pids = set()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            directory = os.readlink(link).removesuffix(" (deleted)")
        except OSError:
            continue  # the process has ended, or it belongs to another user
        if directory == str(folder):
            pids.add(int(link.parent.name))
    return pids


def end_processes(find_alive: Callable[[], set[int]]) -> None:
    """End the processes that `find_alive` returns, until there are none."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        signalled: set[int] = set()
        deadline = time.monotonic() + END_SECONDS
        while (alive := find_alive()) and time.monotonic() < deadline:
            # Once each: on a second SIGTERM Flower's processes end without cleaning up.
            for pid in alive - signalled:
                _send_signal(pid, number)
            signalled |= alive
            time.sleep(0.05)


def _seconds(age: str) -> int:
    """Return the seconds of an elapsed time of `ps`: [[days-]hours:]minutes:seconds."""
    days, hours, minutes, seconds = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", age).groups("0")  # type: ignore[union-attr]
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore signals that would interrupt the block; only the main thread receives any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [(number, signal.signal(number, signal.SIG_IGN)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)


def _send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
