"""A run as its user sees it: its log while it goes on, how it ended, and what is worth showing of both."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from server_app.operations.flower_processes import FlowerError, FlowerProcesses

TRIES = 4  # to learn how a run stands


class RunFailedError(Exception):
    """The run started and did not complete. `log` has its lines."""

    def __init__(self, reason: str, log: list[str]) -> None:
        super().__init__(reason)
        self.log = log


def follow_to_end(sandbox: FlowerProcesses, run_id: str, show: Callable[[str], None]) -> None:
    """Call `show` with each line of the run's log as it appears; RunFailed when it does not complete."""
    log: list[str] = []
    try:
        for line in follow(sandbox, run_id):
            log.append(line)
            show(line)
        status, details = _status(sandbox, run_id)
    except FlowerError as error:
        raise RunFailedError(f"The SuperLink no longer answers for the run: {error}", log) from None
    if status != "finished:completed":
        raise RunFailedError(_reason(details), log)


def follow(sandbox: FlowerProcesses, run_id: str) -> Iterator[str]:
    """Lines of the run's log until the run has ended; a stream that breaks off is taken up again."""
    seen = 0
    while True:
        stream = sandbox.start(
            "flwr", "log", run_id, "condi", "--stream",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        with stream.stdout:
            for number, line in enumerate(stream.stdout, start=1):
                if number > seen:
                    seen = number
                    yield line.rstrip("\n")
        if _status(sandbox, run_id)[0].startswith("finished"):
            return
        time.sleep(1)


def _status(sandbox: FlowerProcesses, run_id: str) -> tuple[str, str]:
    """Asked again for a while, as a SuperLink may be starting anew."""
    for _ in range(TRIES - 1):
        try:
            return sandbox.status(run_id)
        except FlowerError:
            time.sleep(3)
    return sandbox.status(run_id)


def exit_on_signals() -> None:
    """Tidy up when asked to end, as on Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def _reason(details: str) -> str:
    if details.startswith("No heartbeat"):
        return "The run's process was killed, most often because memory ran out."
    return " ".join(details.removeprefix("Simulation failed with exception: ").split())


class ReadableLog:
    """Prints the app's own lines and the warnings that matter, without Flower's and Ray's routine remarks.

    Tracebacks go as well: the server says in its own words what happened at a site, and the reason why a run
    failed is said at the end.
    """

    COLOUR = re.compile(r"\x1b\[[0-9;]*m")
    PREFIX = re.compile(r"(?P<site>\(\S* ?pid=\d+.*?\) )?((?P<level>DEBUG|INFO|WARNING|ERROR) *: +)?")
    TRACEBACK = ("Traceback (most recent call last):", "ray::", "ray.exceptions.", "The actor died")
    ROUTINE = (
        "Using SuperLink: ",
        "Since flwr 1.32, ",
        "Successfully installed ",
        "Manually terminating ",
        "An exception was raised when processing a message",
        "Exception ClientAppException occurred.",
        "The above exception was the direct cause",
        "During handling of the above exception",
        "The actor is dead",
    )

    def __init__(self) -> None:
        self.last = ""
        self._traceback = ""  # or "inside", or "after" its last line, which has the exception's message
        self._hiding = self._over = False

    def __call__(self, line: str) -> None:
        """Print the line if it is worth it."""
        line = self.COLOUR.sub("", line)
        prefix = self.PREFIX.match(line)
        text = line[prefix.end() :]
        self._over |= text.startswith("Simulation raised an exception")
        if text.startswith(self.TRACEBACK):
            self._traceback, self._hiding = "inside", True
        elif not prefix["level"] and (not text or (self._traceback and text[0].isspace())):
            pass  # goes with the line before it
        elif self._traceback == "inside" and not prefix["level"]:
            self._traceback = "after"
        else:
            self._traceback = ""
            self._hiding = prefix["level"] in ("DEBUG", "INFO") or text.startswith(self.ROUTINE)
        if not (self._hiding or self._over):
            self.last = text
            level = prefix["level"]
            start = (prefix["site"] or "") + (f"{level.capitalize()}: " if level else "")
            print(start + text, file=sys.stderr if level == "ERROR" else sys.stdout, flush=True)


def save_failure_log(log: list[str], out: Path) -> Path | None:
    """Keep the log of an unforeseen failure: one that has a traceback of the server."""
    if "Traceback (most recent call last):" not in log:
        return None
    out.mkdir(parents=True, exist_ok=True)
    path = out / time.strftime("failed-%Y%m%d-%H%M%S.log")
    path.write_text("\n".join(log) + "\n")
    return path


def exit_with(status: int, sentence: str) -> None:
    if sentence:
        typer.echo(f"Error: {sentence}", err=True)
    raise typer.Exit(status)
