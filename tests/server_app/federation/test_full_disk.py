"""Full disks, with real file systems of a few kilobytes."""

import errno
import json
import os
import subprocess
from contextlib import contextmanager

import numpy as np
import platformdirs
import pytest
from safetensors.numpy import load_file

from server_app.artifacts import run_directory
from server_app.errors import RunError


@contextmanager
def small_disk(path, kilobytes):
    """Mount a file system of this size at `path`; skip the test where mounting is not permitted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", path]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.slow
def test_a_run_with_a_full_coordinator_disk_resumes_once_space_is_freed(
    federation, run_local, finished_run, tmp_path
):
    unbroken, _ = finished_run()
    disk = tmp_path / "disk"
    with small_disk(disk, 120):
        with pytest.raises(
            RunError, match="No space left.*still valid: free some space and resume with resume="
        ):
            run_local(federation, {"output": str(disk), "name": "full"})
        names = {p.name for p in (disk / "full").iterdir()}
        assert not any(name.startswith(".") for name in names), "half-written files"
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        run_local(federation, {"resume": str(disk / "full")})
        for model in ("imputer", "task-condi"):
            one, two = (load_file(p / f"{model}.safetensors") for p in (unbroken.path, disk / "full"))
            assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_a_site_with_a_full_disk_is_excluded_with_its_reason(
    federation, run_local, tmp_path, monkeypatch, capsys
):
    disk = tmp_path / "disk"
    with small_disk(disk, 104):  # enough for two sites, each with eight files of 40 kB, but not for three
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: disk)
        directory, _ = run_local(federation, {"name": "full"}, nodes=1)
        assert not list(disk.rglob(".*")), "half-written files"
        assert len(list(disk.rglob("*.values.npy"))) == 3 + 3 + 1, "test windows alone fit for the third"
    said = f"completed windows cannot be stored in {disk / 'completed'} (No space left on device): free some"
    assert said in capsys.readouterr().out
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    for line in lines:
        if line["phase"] == "task-condi":
            (why,) = {line["failures"][name] for name in line["failures"]}
            assert len(line["site-seconds"]) < 3 and why.startswith("completed windows are missing")


@pytest.mark.parametrize("name", ["config.json", "roster.json", "imputer.safetensors", "result.json"])
def test_a_file_of_a_run_that_cannot_be_written_is_named(federation, run_local, tmp_path, monkeypatch, name):
    """Every file goes through one function, in which the disk is full from `name` on."""
    write, path = run_directory._replace_file, tmp_path / "runs" / "full"

    def write_until_full(file, content):
        if file.name == name:
            monkeypatch.setattr(os, "fsync", raise_full)
        write(file, content)

    def raise_full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_directory, "_replace_file", write_until_full)
    small = {"name": "full", "compare-with": "", "imputer.relation-rounds": 0}
    with pytest.raises(RunError) as error:
        run_local(federation, small)
    monkeypatch.undo()
    if name == "config.json":
        assert str(error.value).startswith(f"cannot make the run directory {path}: No space left on device;")
        assert not path.exists()
        return
    hint = f"the last checkpoint is still valid: free some space and resume with resume='{path}'"
    assert str(error.value) == f"cannot write {path / name}: No space left on device; {hint}"
    assert not (path / name).exists() and not list(path.glob(".*"))
