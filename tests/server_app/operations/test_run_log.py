"""What `condi submit` says of a run that nothing takes up, and of one that was stopped."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from server_app.operations import run_log
from server_app.operations.flower_processes import FlowerProcesses
from server_app.operations.run_log import RunFailedError, follow_to_end


class Processes:
    """A SuperLink with one run, whose log ends when `status` is read, or after some seconds."""

    def __init__(self, *statuses: tuple[str, str], address: str = "", seconds: float = 60.0) -> None:
        self.statuses = list(statuses)
        self.asked = threading.Event()
        self.address = address
        self.seconds = seconds

    def start(self, *command: str, **options) -> subprocess.Popen:
        class Stream:
            stdout = self

        return Stream()

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None: ...

    def __iter__(self):
        self.asked.wait(self.seconds)
        return iter(())

    def superexec_failure(self) -> str:
        return ""

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


def test_a_simulation_that_starts_slowly_needs_no_superexec(monkeypatch, capsys):
    monkeypatch.setattr(run_log, "PENDING_SECONDS", 0.01)
    monkeypatch.setattr(run_log, "STREAM_RETRY_SECONDS", 0)
    statuses = [("pending", ""), ("finished:completed", "")]
    follow_to_end(Processes(*statuses, address="127.0.0.1:1", seconds=0.2), "7", print)
    assert capsys.readouterr().err == ""


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


@pytest.mark.deployment
def test_a_run_whose_superexec_ends_fails_with_the_reason(monkeypatch):
    monkeypatch.setattr(run_log, "STATUS_RETRY_SECONDS", 0.1)
    with FlowerProcesses() as processes:
        superlink = processes.start_superlink("--simulation")
        assert processes.superexec_failure() == ""
        threading.Timer(3.0, processes._superexec.kill).start()
        with pytest.raises(RunFailedError, match="SuperExec, which .*, has ended: it was ended by SIGKILL"):
            follow_to_end(processes, "1", print)
        superlink.wait(timeout=10)


COUNT_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: open(sys.argv[1], "a").write("x"))
print("ready", flush=True)
time.sleep(0.7)
"""


def test_a_superlink_gets_one_signal_when_its_processes_are_closed(tmp_path):
    signals = tmp_path / "signals"
    with FlowerProcesses() as processes:
        superlink = processes.start(sys.executable, "-c", COUNT_SIGTERM, str(signals), stdout=subprocess.PIPE)
        with superlink.stdout:
            assert superlink.stdout.readline() == b"ready\n"
        processes._superexec = processes.start("sleep", "60")
        threading.Thread(target=processes._end_without_superexec, args=[superlink], daemon=True).start()
    assert signals.read_text() == "x"
