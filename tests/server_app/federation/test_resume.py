"""Runs that are cut off: killed processes, full disks, foreign and damaged checkpoints."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from condi_core.run_files import CHECKPOINT_FILE
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.errors import RunError
from tests.helpers.tiny_federation import write_tiny

PROJECT = Path(__file__).parents[3]


def test_killed_after_every_round_it_ends_in_the_same_weights(federation, tmp_path, small_settings):
    settings = small_settings(
        {"federation": str(federation), "output": str(tmp_path), "compare-with": "mask"}
    )
    file = tmp_path / "settings.json"

    def run(*flags, **changes):
        file.write_text(json.dumps(settings | changes))
        command = [sys.executable, "-m", "tests.helpers.killed_run", file, *flags]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    assert run(name="unbroken") == 0
    killed = [run("--kill", name="killed")]
    while killed[-1] != 0:
        killed.append(run("--kill", resume=str(tmp_path / "killed")))
    # One checkpoint a round: the relation's, two of the imputer's, two of each task model's.
    assert len(killed) == 1 + 2 + 2 + 2 + 1
    for model in ("imputer", "task-condi", "task-mask"):
        one, two = (load_file(tmp_path / name / f"{model}.safetensors") for name in ("unbroken", "killed"))
        assert all(np.array_equal(one[k], two[k]) for k in one)
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("unbroken", "killed"))
    assert one == two
    assert len((tmp_path / "killed" / "history.jsonl").read_text().splitlines()) == 7


def test_a_full_disk_leaves_the_old_checkpoint_valid(tmp_path, monkeypatch):
    directory = RunDirectory(tmp_path)
    directory.save(RunState(done={"imputer": 1}, models={"imputer": {"w": np.ones(3, np.float32)}}))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device; the previous one is still valid.*resume="):
        directory.save(RunState(done={"imputer": 2}, models={"imputer": {"w": np.zeros(3, np.float32)}}))
    monkeypatch.undo()
    state = directory.load()
    assert state.done == {"imputer": 1} and (state.models["imputer"]["w"] == 1).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT_FILE, "history.jsonl"]


def test_a_checkpoint_of_another_configuration_is_refused(federation, run_local):
    directory, _ = run_local(federation)
    with pytest.raises(RunError) as refused:
        run_local(federation, {"resume": str(directory.path), "imputer.rounds": 3, "seed": 7})
    assert "trained with other settings" in str(refused.value)
    assert "--run-config 'imputer.rounds=2 seed=0 resume=" in str(refused.value)


def test_where_a_run_lives_may_change(federation, run_local, tmp_path):
    directory, _ = run_local(federation)
    moved = tmp_path / "elsewhere"
    directory.path.rename(moved)
    resumed, _ = run_local(federation, {"resume": str(moved), "min-sites": 2, "round-timeout": 60.0})
    assert resumed.path == moved


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0not a header....", b"x" * 500])
def test_a_damaged_checkpoint_is_named(federation, run_local, content):
    directory, _ = run_local(federation)
    (directory.path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(RunError, match="checkpoint .* is damaged") as refused:
        run_local(federation, {"resume": str(directory.path)})
    assert "\n" not in str(refused.value)


def test_a_truncated_checkpoint_is_named(federation, run_local):
    directory, _ = run_local(federation)
    file = directory.path / CHECKPOINT_FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RunError, match="is damaged"):
        run_local(federation, {"resume": str(directory.path)})


def test_another_federation_than_that_of_the_checkpoint_is_refused(federation, run_local, tmp_path):
    directory, _ = run_local(federation)
    other = write_tiny(tmp_path / "other", sites=2)
    with pytest.raises(RunError, match="the federation has no site site-2: it has site-0, site-1"):
        run_local(other, {"resume": str(directory.path)})
    other = write_tiny(tmp_path / "another", sites=3)
    with pytest.raises(RunError, match="site-0, site-1 has other data than when the run began"):
        run_local(other, {"resume": str(directory.path)})


def test_a_damaged_roster_is_named(federation, run_local):
    directory, _ = run_local(federation)
    (directory.path / "roster.json").write_text("{half")
    with pytest.raises(RunError, match="roster.json is missing or damaged"):
        run_local(federation, {"resume": str(directory.path)})


def test_an_existing_run_directory_is_left_alone(federation, run_local):
    directory, _ = run_local(federation, {"name": "once"})
    before = {p.name: p.stat().st_mtime_ns for p in directory.path.iterdir()}
    with pytest.raises(RunError, match="exists: choose another name"):
        run_local(federation, {"name": "once"})
    assert before == {p.name: p.stat().st_mtime_ns for p in directory.path.iterdir()}


def test_nothing_to_resume_is_said(federation, run_local, tmp_path):
    with pytest.raises(RunError, match="no run to resume at .*/nothing"):
        run_local(federation, {"resume": str(tmp_path / "nothing")})
