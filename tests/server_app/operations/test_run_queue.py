"""Runs one after the other: in order, and past runs that failed or were killed."""

import subprocess
import sys
import time

import pytest

from server_app.errors import RunError
from server_app.operations import run_queue
from server_app.operations.run_queue import wait_for_turn

QUEUE = """
import sys, time
from pathlib import Path
from server_app.operations import run_queue
run_queue.POLL_SECONDS = 0.05
with run_queue.wait_for_turn(Path(sys.argv[1]), lambda: None):
    print("begins", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "fail":
        raise SystemExit(1)
"""


def tickets(folder) -> list[str]:
    return [path.name for path in (folder / ".queue").iterdir() if path.name != run_queue.MUTEX_FILE]


def start(folder, end="") -> subprocess.Popen:
    command = [sys.executable, "-c", QUEUE, str(folder), end]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_runs_begin_in_order_past_one_that_fails_and_one_that_is_killed(tmp_path):
    first = start(tmp_path, "fail")
    assert first.stdout.readline() == "begins\n"
    second = start(tmp_path)
    assert second.stdout.readline() == f"queued behind 1 run in {tmp_path}\n"
    third = start(tmp_path)
    assert third.stdout.readline() == f"queued behind 2 runs in {tmp_path}\n"
    first.communicate("\n")
    assert second.stdout.readline() == "begins\n"
    assert third.stdout.readline() == f"queued behind 1 run in {tmp_path}\n"
    second.kill()
    assert third.stdout.readline() == "begins\n"
    third.communicate("\n")
    second.communicate()
    assert (first.returncode, third.returncode) == (1, 0)
    with wait_for_turn(tmp_path, pytest.fail):  # nothing is left that a run would wait for
        assert len(tickets(tmp_path)) == 1
    assert not tickets(tmp_path)


def test_a_run_that_is_stopped_while_it_waits_leaves_the_queue(tmp_path, monkeypatch):
    monkeypatch.setattr(run_queue, "POLL_SECONDS", 0.01)

    def stop() -> None:
        raise KeyboardInterrupt

    with wait_for_turn(tmp_path, pytest.fail):
        time.sleep(0.001)
        with pytest.raises(KeyboardInterrupt), wait_for_turn(tmp_path, stop):
            pass
        assert len(tickets(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot queue in .*: choose another folder with output"):
        with wait_for_turn(tmp_path / "file", pytest.fail):
            pass
