"""Interrupted runs: killed processes, full disks, checkpoints of other runs and damaged ones."""

import errno
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from condi_core.run_files import CHECKPOINT_FILE
from condi_core.serialization import PACKED
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.errors import RunError
from tests.helpers.run_settings import PROJECT, small_run_settings
from tests.helpers.tiny_federation import write_tiny


class Killed(BaseException):
    """Ends a coordinator; nothing in it catches this."""


@pytest.mark.slow
def test_a_run_stopped_after_every_round_ends_with_the_same_weights(
    federation, run_local, finished_run, tmp_path, monkeypatch
):
    unbroken, _ = finished_run({"compare-with": "mask"})
    save = RunDirectory.save

    def save_and_die(self, state):
        save(self, state)
        raise Killed

    monkeypatch.setattr(RunDirectory, "save", save_and_die)
    killed = tmp_path / "runs" / "killed"
    changes = {"name": "killed", "compare-with": "mask"}
    stops, finished = 0, False
    while not finished:
        try:
            run_local(federation, changes)
            finished = True
        except Killed:
            stops += 1
            changes = {"resume": str(killed), "compare-with": "mask"}
    # There is one checkpoint per round, one of the relation and two of each model, and one for the scores of
    # the last round of a model.
    assert stops == 1 + (2 + 1) + (2 + 1) + (2 + 1)
    assert_same_run(unbroken.path, killed)
    assert len((killed / "history.jsonl").read_text().splitlines()) == 7


@pytest.mark.slow
def test_a_process_killed_at_a_checkpoint_is_resumed_by_another(
    federation, run_local, finished_run, tmp_path
):
    unbroken, _ = finished_run({"compare-with": "mask"})
    places = {"federation": str(federation), "output": str(tmp_path / "runs"), "name": "killed"}
    settings = small_run_settings(places | {"compare-with": "mask"})
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "tests.helpers.killed_run", tmp_path / "settings.json", "imputer"]
    killed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_local(federation, {"resume": str(tmp_path / "runs" / "killed"), "compare-with": "mask"})
    assert_same_run(unbroken.path, tmp_path / "runs" / "killed")


def test_a_second_coordinator_of_a_run_is_refused_and_every_noisy_average_is_counted(
    federation, run_local, tmp_path
):
    noise = {"compare-with": "", "privacy.noise-multiplier": 1.0, "averaging": "mean"}
    path = tmp_path / "runs" / "run"
    refusals, disclosed = [], set()

    def resume_during_the_first_training(request, reply):
        action = request.metadata.message_type
        if action == "train.imputer" and not refusals:
            with pytest.raises(RunError) as refused:
                run_local(federation, noise | {"resume": str(path)})
            refusals.append(str(refused.value))
        if action.startswith("evaluate") or request.content["config"].get("evaluate"):
            disclosed.add((action, request.content["arrays"][PACKED]))
        return reply

    directory, _ = run_local(federation, noise | {"name": "run"}, resume_during_the_first_training)
    who = rf"{path} is in use by process {os.getpid()} on .* since .*: wait for it to end, or stop it"
    assert re.fullmatch(who, refusals[0])
    counted = json.loads((path / "result.json").read_text())["privacy"]
    assert counted["averages"] == directory.load().noisy_releases == len(disclosed) == 4
    assert not list(path.glob(".*"))
    assert run_local(federation, noise | {"resume": str(path)})[0].path == path


def assert_same_run(unbroken, resumed):
    """Check that two runs ended in the same weights and scores."""
    for model in ("imputer", "task-condi", "task-mask"):
        one, two = (load_file(path / f"{model}.safetensors") for path in (unbroken, resumed))
        assert all(np.array_equal(one[k], two[k]) for k in one)
    one, two = (json.loads((path / "result.json").read_text()) for path in (unbroken, resumed))
    assert one == two


def test_a_full_disk_leaves_the_old_checkpoint_valid(tmp_path, monkeypatch):
    directory = RunDirectory(tmp_path)
    directory.save(RunState(done={"imputer": 1}, models={"imputer": {"w": np.ones(3, np.float32)}}))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunError, match="No space left on device; the last checkpoint is still valid.*resume="
    ):
        directory.save(RunState(done={"imputer": 2}, models={"imputer": {"w": np.zeros(3, np.float32)}}))
    monkeypatch.undo()
    state = directory.load()
    assert state.done == {"imputer": 1} and (state.models["imputer"]["w"] == 1).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT_FILE, "history.jsonl"]


def test_a_checkpoint_of_another_configuration_is_refused(federation, run_local, run_copy):
    with pytest.raises(RunError) as refused:
        run_local(federation, {"resume": str(run_copy), "imputer.rounds": 3, "seed": 7})
    assert "trained with other settings" in str(refused.value)
    assert "--run-config 'imputer.rounds=2 seed=0 resume=" in str(refused.value)


def test_a_run_can_be_resumed_from_another_folder(federation, run_local, run_copy, tmp_path):
    moved = tmp_path / "elsewhere"
    run_copy.rename(moved)
    resumed, _ = run_local(federation, {"resume": str(moved), "min-sites": 2, "round-timeout": 60.0})
    assert resumed.path == moved


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0not a header....", b"x" * 500])
def test_a_damaged_checkpoint_is_named(federation, run_local, run_copy, content):
    (run_copy / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(RunError, match="checkpoint .* is damaged") as refused:
        run_local(federation, {"resume": str(run_copy)})
    assert "\n" not in str(refused.value)


def test_a_truncated_checkpoint_is_named(federation, run_local, run_copy):
    file = run_copy / CHECKPOINT_FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RunError, match="is damaged"):
        run_local(federation, {"resume": str(run_copy)})


def test_a_checkpoint_with_numbers_that_are_not_finite_is_named(federation, run_local, run_copy):
    directory = RunDirectory(run_copy)
    state = directory.load()
    state.models["imputer"]["closed_form.cross_spectra.0.spectrum"][0, 0] = np.nan
    directory.save(state)
    with pytest.raises(RunError, match=r"spectrum is not finite\): start a new run"):
        run_local(federation, {"resume": str(run_copy)})


def test_another_federation_than_that_of_the_checkpoint_is_refused(run_local, run_copy, tmp_path):
    other = write_tiny(tmp_path / "other", sites=2)
    with pytest.raises(RunError, match="the federation has no site site-2: it has site-0, site-1"):
        run_local(other, {"resume": str(run_copy)})
    other = write_tiny(tmp_path / "another", sites=3)
    with pytest.raises(RunError, match="the data of site-0, site-1 differ from .*: start a new run"):
        run_local(other, {"resume": str(run_copy)})


@pytest.mark.parametrize("name", ["config.json", "roster.json", CHECKPOINT_FILE])
def test_a_damaged_file_is_named_with_the_remedy(federation, run_local, run_copy, name):
    (run_copy / name).write_text("{half")
    with pytest.raises(RunError, match=f"{name} is .*damaged.*: start a new run"):
        run_local(federation, {"resume": str(run_copy)})


def test_an_existing_run_directory_is_not_changed(federation, run_local, run_copy):
    before = {p.name: p.stat().st_mtime_ns for p in run_copy.iterdir()}
    with pytest.raises(RunError, match="exists: choose another name"):
        run_local(federation, {"name": "copy"})
    assert before == {p.name: p.stat().st_mtime_ns for p in run_copy.iterdir()}


def test_a_missing_run_to_resume_is_reported(federation, run_local, tmp_path):
    with pytest.raises(RunError, match="no run to resume at .*/nothing"):
        run_local(federation, {"resume": str(tmp_path / "nothing")})
