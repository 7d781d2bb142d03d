"""What `condi submit` says of a run that nothing takes up, and of one that was stopped."""

from __future__ import annotations

import subprocess
import threading

import pytest

from server_app.operations import run_log
from server_app.operations.run_log import RunFailedError, follow_to_end


class Processes:
    """A SuperLink with one run, whose log ends when `status` is read for the first time."""

    def __init__(self, *statuses: tuple[str, str]) -> None:
        self.statuses = list(statuses)
        self.asked = threading.Event()

    def start(self, *command: str, **options) -> subprocess.Popen:
        class Stream:
            stdout = self

        return Stream()

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None: ...

    def __iter__(self):
        self.asked.wait(60)
        return iter(())

    def status(self, run_id: str) -> tuple[str, str]:
        self.asked.set()
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


def test_a_run_that_nothing_takes_up(monkeypatch, capsys):
    monkeypatch.setattr(run_log, "PENDING_SECONDS", 0.01)
    follow_to_end(Processes(("pending", ""), ("finished:completed", "")), "7", print)
    assert capsys.readouterr().err == (
        "run 7 is pending: nothing has taken it up within 0.01 s; check that `condi superexec` runs at the "
        "coordinator\n"
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (("finished:stopped", ""), "The run was stopped."),
        (("finished:failed", "the app's process was killed"), "The app's process was killed"),
        (
            ("finished:failed", "No heartbeat received from the task"),
            "The run's process was killed, most often",
        ),
    ],
)
def test_why_a_run_has_ended(status, reason):
    processes = Processes(status)
    processes.asked.set()
    with pytest.raises(RunFailedError, match=f"^{reason}"):
        follow_to_end(processes, "7", print)
