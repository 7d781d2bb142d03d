"""Follow the log of a run: stream it, find out how the run ended, and select the lines to show."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from server_app.operations.flower_processes import FlowerError, FlowerProcesses

STATUS_ATTEMPTS = 4  # requests for the status of a run before it counts as unreachable
STATUS_RETRY_SECONDS = 3
STREAM_RETRY_SECONDS = 1
PENDING_SECONDS = 10.0  # after which it is said that nothing has taken up a run; usually it takes one second


class RunFailedError(Exception):
    """The run started and did not complete; `log` has the lines of its log."""

    def __init__(self, reason: str, log: list[str]) -> None:
        super().__init__(reason)
        self.log = log


def follow_to_end(processes: FlowerProcesses, run_id: str, show: Callable[[str], None]) -> None:
    """Call `show` with each line of a run's log as it appears, until the run completes.

    Parameters
    ----------
    processes : whose connection `condi` leads to the run's SuperLink
    run_id : the run's id
    show : called with each line, without the line break

    Raises
    ------
    RunFailedError
        When the run ends in another way, or its SuperLink stops answering.
    """
    log: list[str] = []
    pending = threading.Timer(PENDING_SECONDS, _warn_if_pending, (processes, run_id))
    pending.daemon = True
    if not processes.address:  # a SuperLink of these processes has its SuperExec
        pending.start()
    try:
        for line in stream_log(processes, run_id):
            pending.cancel()
            log.append(line)
            show(line)
        status, details = _run_status(processes, run_id)
    except FlowerError as error:
        if failure := processes.superexec_failure():
            raise RunFailedError(
                f"The SuperExec, which carries out the run, has ended: {failure}.", log
            ) from None
        raise RunFailedError(f"The SuperLink no longer answers for the run: {error}", log) from None
    finally:
        pending.cancel()
    if status == "finished:stopped":
        raise RunFailedError("The run was stopped.", log)
    if status != "finished:completed":
        raise RunFailedError(_failure_reason(details), log)


def _warn_if_pending(processes: FlowerProcesses, run_id: str) -> None:
    with suppress(FlowerError):
        if processes.status(run_id)[0] == "pending":
            print(
                f"run {run_id} is pending: nothing has taken it up within {PENDING_SECONDS:g} s; check that "
                "`condi superexec` runs at the coordinator",
                file=sys.stderr,
                flush=True,
            )


def stream_log(processes: FlowerProcesses, run_id: str) -> Iterator[str]:
    """Yield the lines of a run's log until the run has ended; reconnect when the stream breaks off."""
    num_seen = 0
    while True:
        stream = processes.start(
            "flwr", "log", run_id, "condi", "--stream",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        assert stream.stdout is not None  # it is a pipe
        with stream.stdout:
            for number, line in enumerate(stream.stdout, start=1):
                if number > num_seen:
                    num_seen = number
                    yield line.rstrip("\n")
        if _run_status(processes, run_id)[0].startswith("finished"):
            return
        time.sleep(STREAM_RETRY_SECONDS)


def _run_status(processes: FlowerProcesses, run_id: str) -> tuple[str, str]:
    """Return the status of a run and its details; retry, as the SuperLink may be restarting."""
    for _ in range(STATUS_ATTEMPTS - 1):
        try:
            return processes.status(run_id)
        except FlowerError:
            time.sleep(STATUS_RETRY_SECONDS)
    return processes.status(run_id)


def _failure_reason(details: str) -> str:
    if details.startswith("No heartbeat"):
        return "The run's process was killed, most often because memory ran out."
    reason = " ".join(details.removeprefix("Simulation failed with exception: ").split())
    return f"{reason[:1].upper()}{reason[1:]}"


class ReadableLog:
    """Prints the app's lines and the warnings that matter, without Flower's and Ray's routine remarks.

    Tracebacks are hidden as well: the coordinator reports in a sentence what happened at a site, and the
    reason why a run failed is printed at the end. `last` is the text of the last line that was printed.
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

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self.last = ""
        self._write = write  # in place of printing
        self._traceback = ""  # "inside" one, or "after" its last line, which has the exception's message
        self._hiding = False
        self._ended = False

    def __call__(self, line: str) -> None:
        """Print a line of the log unless it is routine."""
        line = self.COLOUR.sub("", line)
        prefix = self.PREFIX.match(line)
        assert prefix is not None  # both of its groups are optional
        text = line[prefix.end() :]
        self._ended |= text.startswith("Simulation raised an exception")
        if text.startswith(self.TRACEBACK):
            self._traceback, self._hiding = "inside", True
        elif not prefix["level"] and (not text or (self._traceback and text[0].isspace())):
            pass  # the line continues the one before it
        elif self._traceback == "inside" and not prefix["level"]:
            self._traceback = "after"
        else:
            self._traceback = ""
            self._hiding = prefix["level"] in ("DEBUG", "INFO") or text.startswith(self.ROUTINE)
        if not (self._hiding or self._ended):
            self.last = text
            level = prefix["level"]
            start = (prefix["site"] or "") + (f"{level.capitalize()}: " if level else "")
            if self._write:
                self._write(start + text)
            else:
                print(start + text, file=sys.stderr if level == "ERROR" else sys.stdout, flush=True)


def save_failure_log(log: list[str], folder: Path) -> Path | None:
    """Write the log of an unforeseen failure, which is one with a traceback of the coordinator.

    Returns
    -------
    The file, or None when the log has no such traceback.
    """
    if "Traceback (most recent call last):" not in log:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / time.strftime("failed-%Y%m%d-%H%M%S.log")
    path.write_text("\n".join(log) + "\n")
    return path
