"""Locks on outputs, and temporary files, of processes that live and of those that were killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import pytest

from data_partitions.locks import InUseError, hold_lock
from data_partitions.storage import atomic_directory, atomic_write, reserve_folder, reserve_output
from data_partitions.temporary import remove_abandoned, scratch_path
from tests.helpers.run_settings import PROJECT

HOLD_LOCK = "with hold_lock(Path(sys.argv[1]), 'north'): wait()"
WRITE_FILE = "with atomic_write(Path(sys.argv[1])) as file: file.write(bytes(10)); file.flush(); wait()"
WRITE_DIRECTORY = "with atomic_directory(sys.argv[1]) as temp: (temp / 'values').mkdir(); wait()"
CODE = """
import sys
from pathlib import Path
from data_partitions.locks import hold_lock
from data_partitions.storage import atomic_directory, atomic_write
from data_partitions.temporary import temporary_directory, temporary_path
def wait(): print("ready", flush=True); sys.stdin.read()
"""


@pytest.fixture
def start():
    """`start(code, path)`: a process that runs the code and then waits."""
    processes = []

    def run(code, path):
        command = [sys.executable, "-c", CODE + code, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen(command, cwd=PROJECT, text=True, **pipes))
        assert processes[-1].stdout.readline() == "ready\n"
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_second_process_is_told_who_holds_the_lock_and_takes_that_of_a_killed_one(start, tmp_path):
    file = tmp_path / "lock"
    holder = start(HOLD_LOCK, file)
    with pytest.raises(InUseError) as refused, hold_lock(file, "north"):
        pass
    who = (
        f"process {holder.pid} on {re.escape(socket.gethostname())} since "
        + r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    )
    assert re.fullmatch(f"north is in use by {who}: wait for it to end, or stop it", str(refused.value))
    kill(holder)
    assert str(holder.pid) in file.read_text()
    with hold_lock(file, "north"):
        assert f"process {os.getpid()} on" in file.read_text()
        with pytest.raises(InUseError, match=f"process {os.getpid()} on"), hold_lock(file, "north"):
            pass
    assert not file.exists()


def test_who_waits_for_a_lock_does_not_share_it_with_who_comes_later(tmp_path):
    file, entered, leave = tmp_path / "lock", threading.Event(), threading.Event()

    def wait():
        with hold_lock(file, "north", wait=True):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=wait)
    with hold_lock(file, "north"):
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(10)
    with pytest.raises(InUseError), hold_lock(file, "north"):
        pass
    leave.set()
    thread.join()
    assert not file.exists()


def test_outputs_are_reserved_beside_and_folders_inside(tmp_path):
    with reserve_output(tmp_path / "new" / "north"), reserve_folder(tmp_path / "out"):
        for reserve, path in (
            (reserve_output, tmp_path / "new" / "north"),
            (reserve_folder, tmp_path / "out"),
        ):
            with pytest.raises(InUseError, match=f"{path} is in use by process"), reserve(path):
                pass
        with reserve_output(tmp_path / "new" / "south"):
            pass
    assert not list(tmp_path.iterdir()), "nothing was written"


@pytest.mark.parametrize("code", [WRITE_FILE, WRITE_DIRECTORY])
def test_what_a_killed_process_was_writing_is_removed_and_what_a_living_one_writes_is_not(
    start, tmp_path, code
):
    path = tmp_path / "north"
    writer = start(code, path)
    before = sorted(tmp_path.rglob("*"))
    assert before and not path.exists()
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    kill(writer)
    remove_abandoned(tmp_path, "south")
    assert sorted(tmp_path.rglob("*")) == before
    remove_abandoned(tmp_path, "north")
    assert not list(tmp_path.iterdir())


def test_a_process_that_was_not_killed_can_finish_after_others_have_cleaned_up(tmp_path):
    with atomic_write(tmp_path / "file") as file, atomic_directory(tmp_path / "directory") as temporary:
        file.write(b"content")
        (temporary / "values").write_bytes(b"content")
        remove_abandoned(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "directory"}
    assert (tmp_path / "file").read_bytes() == (tmp_path / "directory" / "values").read_bytes() == b"content"


def test_files_of_others_are_not_removed(tmp_path):
    names = ("a.tmp", ".a.tmp", ".a.0a1b2c3.tmp", "a.0a1b2c3d.tmp", ".a.0a1b2c3d.tmp.old", ".a.0a1b2c3d")
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / ".link.0a1b2c3d.tmp").symlink_to(tmp_path / "a.tmp")
    remove_abandoned(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*names, ".link.0a1b2c3d.tmp"}


def test_scratch_of_a_killed_process_is_removed_by_the_next(start, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    writer = start(
        "with temporary_directory(temporary_path(Path(sys.argv[1]))): wait()", tmp_path / "condi-site"
    )
    assert scratch_path("condi-site") == tmp_path / "condi-site" and len(list(tmp_path.iterdir())) == 2
    kill(writer)
    scratch_path("condi-site")
    assert not list(tmp_path.iterdir())
