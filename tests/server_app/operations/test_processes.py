"""Processes of this user, their ages and their descendants."""

import os
import subprocess
import sys

import pytest

from server_app.operations import processes
from server_app.operations.flower_processes import FlowerProcesses
from server_app.operations.processes import Process, descendants, end_processes, list_processes


@pytest.mark.parametrize(
    ("age", "seconds"), [("00:07", 7), ("02:00", 120), ("03:00:01", 10801), ("2-00:00:00", 172800)]
)
def test_ages_are_read_as_ps_prints_them(age, seconds):
    assert processes._seconds(age) == seconds


def test_descendants_are_those_of_any_generation():
    family = {pid: Process(pid, parent, 0, []) for pid, parent in {5: 2, 2: 1, 4: 5, 3: 1, 9: 3}.items()}
    assert descendants(2, family) == {2, 4, 5}


def test_a_process_that_ignores_sigterm_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "END_SECONDS", 0.5)
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{ignore}; print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"1\n"
        listed = list_processes()[child.pid]
        assert listed.parent == os.getpid() and listed.command[1:2] == ["-c"]
        end_processes(lambda: {child.pid} if child.poll() is None else set())
        assert child.returncode == -9
    assert child.pid not in list_processes()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_descendants_that_have_lost_the_mark_in_their_environment_are_ended():
    with FlowerProcesses() as processes:
        bare = ["env", "-i", "sleep", "60"]
        parent = processes.start("sh", "-c", f"{' '.join(bare)} & echo $!", stdout=subprocess.PIPE)
        orphan = int(parent.stdout.readline())
        parent.wait()
        assert orphan in list_processes()
    assert orphan not in list_processes()
