"""Where the processes of apps come from, and how long Flower's loops wait."""

import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from flwr.cli import install
from flwr.supercore.inflatable import inflatable_utils

from client_app.join import fork_server, polling, superexec
from client_app.join.app_process import describe_end, install_once
from client_app.join.fork_server import LIBRARIES, ForkServer, ForkServerError
from client_app.join.polling import AdaptiveClock
from client_app.join.superexec import AppLauncher

# Replaces `flwr-clientapp` by a report of what an app sees of its process.
SITE_CUSTOMIZE = """
import json, os, sys
import flwr.supernode.cli

def report():
    own = [name for name in sys.modules if name.startswith("client_app")]
    print(json.dumps([sys.argv, os.getpid(), "torch" in sys.modules, own]))

flwr.supernode.cli.flwr_clientapp = report
"""


class Clock:
    """A clock that only waiting moves."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(polling, "time", clock)
    return clock


def test_waits_grow_with_the_idle_time_up_to_the_longest(clock):
    adaptive = AdaptiveClock(max_seconds=3.0)
    while clock.now < 100:
        start = clock.now
        adaptive.sleep(3)
        assert clock.waits[-1] == pytest.approx(min(max(0.1 * start, 0.1), 3.0))


def test_waits_are_as_long_as_the_idle_time_before_the_last_message_suggests(clock):
    adaptive = AdaptiveClock(max_seconds=3.0)
    adaptive.sleep(3)
    active = 0.0
    for idle_seconds in (100.0, 12.0, 4.0):
        clock.now = active = active + idle_seconds
        adaptive.note_activity()
        adaptive.note_activity()  # as of an app that follows its message
        adaptive.sleep(3)
        assert clock.waits[-1] == pytest.approx(min(0.1 * idle_seconds, 3.0))


def test_a_superexec_asks_more_often_than_a_node(clock):
    adaptive = AdaptiveClock(max_seconds=1.0, idle_fraction=superexec.SUPEREXEC_IDLE_FRACTION)
    clock.now = 20.0
    adaptive.sleep(1)
    assert clock.waits == pytest.approx([0.4])


def test_an_app_is_unpacked_for_the_first_message_only(tmp_path, monkeypatch):
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    unpacked = []

    def unpack(fab, skip_prompt):
        unpacked.append(fab)
        folder = tmp_path / "apps" / f"condi.condi.0.2.0.{hashlib.sha256(fab).hexdigest()[:8]}"
        folder.mkdir(parents=True)
        return folder

    monkeypatch.setattr(install, "install_from_fab", unpack)
    folders = [install_once(fab) for fab in (b"one", b"one", b"two", b"one")]
    assert unpacked == [b"one", b"two"]
    assert folders[0] == folders[1] == folders[3] != folders[2]


def test_waits_for_an_app_are_short_and_count_as_activity(clock):
    adaptive = AdaptiveClock(max_seconds=3.0)
    clock.now = 1000.0
    adaptive.sleep(0.5)
    adaptive.sleep(3)
    assert clock.waits == [0.1, 0.1]


class Refusing:
    """A fork server that cannot fork."""

    def start_app(self, command):
        raise ForkServerError("CUDA is initialised in the process that forks apps")


def test_an_app_that_cannot_be_forked_is_a_new_process_and_the_log_says_why(monkeypatch, caplog):
    started, reported = [], threading.Event()

    class Process:
        def __init__(self, command, **options):
            started.append((command, options))

        def wait(self):
            return -9

    def report(command, status):
        assert (command[0], status) in {("flwr-clientapp", -9), ("flwr-serverapp", -9)}
        reported.set()

    monkeypatch.setattr(superexec, "ForkServer", Refusing)
    monkeypatch.setattr(superexec, "report_end", report)
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    launcher = AppLauncher(AdaptiveClock(1.0))
    launcher.start_process(["flwr-clientapp", "--token", "x"])
    assert started[0][0][2:] == ["-m", "client_app.join.app_process", "flwr-clientapp", "--token", "x"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "The app is started as a new process: CUDA is initialised in the process that forks apps"
    )
    assert reported.wait(60)
    reported.clear()
    launcher.start_process(["flwr-serverapp"], stdout=subprocess.DEVNULL)
    assert started[1] == (["flwr-serverapp"], {"stdout": subprocess.DEVNULL})
    assert len(caplog.records) == 1 and reported.wait(60)


@pytest.mark.parametrize(
    ("status", "description"),
    [
        (-9, "was killed, most often because memory ran out"),
        (-11, "was ended by signal 11 (SIGSEGV)"),
        (3, "ended with status 3"),
    ],
)
def test_how_a_process_has_ended(status, description):
    assert describe_end(status) == description


def test_a_process_with_cuda_or_threads_does_not_fork(monkeypatch):
    import torch

    monkeypatch.setattr(fork_server.threading, "active_count", lambda: 1)
    assert fork_server._find_obstacle() is None
    monkeypatch.setattr(fork_server.threading, "active_count", lambda: 2)
    assert "threads" in fork_server._find_obstacle()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert "CUDA" in fork_server._find_obstacle()


def test_a_request_that_cannot_be_forked_is_answered_by_the_reason_and_the_next_one_too(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("it forked"))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handler = signal.getsignal(signal.SIGINT)
    with near:
        for _ in range(2):
            near.send(b'["flwr-clientapp"]')
        near.shutdown(socket.SHUT_WR)
        try:
            assert fork_server.serve(far) is None
        finally:
            signal.signal(signal.SIGINT, handler)
        for _ in range(2):
            assert near.recv(1000) == b"CUDA is initialised in the process that forks apps"


def test_a_part_that_is_still_being_sent_is_asked_for_again_within_a_tenth_of_a_second(monkeypatch):
    for function in (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree):
        monkeypatch.setattr(function, "__kwdefaults__", dict(function.__kwdefaults__))
    polling.shorten_first_pulls()
    times = []

    def pull(id_):
        times.append(time.monotonic())
        if len(times) == 1:
            raise inflatable_utils.ObjectUnavailableError(id_)
        return b"content"

    assert inflatable_utils.pull_objects(["id"], pull) == {"id": b"content"}
    assert 0.03 < times[1] - times[0] < 0.5


@pytest.mark.slow
def test_the_libraries_are_all_that_the_app_imports():
    code = f"""
import sys
from importlib import import_module
for library in {LIBRARIES}:
    import_module(library)
def packages():
    return {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)

before = packages()
import client_app.app
print(sorted(packages() - before))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['client_app', 'condi_core', 'data_partitions']"


@pytest.mark.slow
def test_each_app_is_a_process_of_its_own_that_has_the_libraries_and_no_code_of_the_site(
    tmp_path, capfd, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    server = ForkServer()
    processes = [server.start_app(["flwr-clientapp", "--token", str(i)]) for i in range(2)]
    lines, deadline = [], time.monotonic() + 60
    while len(lines) < 2 and time.monotonic() < deadline:
        lines += capfd.readouterr().out.splitlines()
        time.sleep(0.05)
    assert sorted(map(json.loads, lines)) == [
        [["flwr-clientapp", "--token", str(i)], process, True, []] for i, process in enumerate(processes)
    ]
    parent = int(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()[-1])
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(ForkServerError):
        server.start_app(["flwr-clientapp"])
    assert server.start_app(["flwr-clientapp"]) > 0, "a new process forks"
