"""Other missingness in test is scored with trained models, as if they had been trained again."""

import json
import shutil

import pytest

from server_app.artifacts.run_directory import RunDirectory
from server_app.errors import RunError
from server_app.study.reuse import reuse_training
from tests.helpers.fake_runs import FakeRuns, tiny_study
from tests.helpers.tiny_federation import write_tiny

OTHER_MISSINGNESS = "gaps=0.6 gap-patches=2"
SHORT = {"imputer.rounds": 1, "imputer.relation-rounds": 2, "task.rounds": 2, "method": "condi"}


@pytest.fixture
def federation(tmp_path):
    return write_tiny(tmp_path / "federation", sites=2, train=8, val=4, test=4)


def _damaged(self):
    raise RunError("roster.json is damaged")


def scores(directory):
    return json.loads((directory.path / "result.json").read_text())


@pytest.mark.slow
def test_scores_equal_those_of_training_again(federation, run_local, tmp_path):
    before, _ = run_local(federation, SHORT | {"compare-with": "mask,estimate", "name": "before"})
    settings = json.loads((before.path / "config.json").read_text())
    again, grid = run_local(
        federation,
        SHORT | {"compare-with": "estimate", "test-missingness": OTHER_MISSINGNESS, "name": "again"},
    )
    trained = [m.metadata.message_type for m in grid.sent].count("train.task")

    reused = settings | {"name": "reused", "test-missingness": OTHER_MISSINGNESS, "compare-with": "estimate"}
    assert reuse_training(before.path, reused)
    path = before.path.with_name("reused")
    shutil.rmtree(tmp_path / "cache")
    directory, grid = run_local(federation, reused | {"resume": str(path)})
    assert directory.path == path
    kinds = {m.metadata.message_type for m in grid.sent}
    assert trained and not [kind for kind in kinds if kind.startswith("train")]
    splits = [m.content["config"]["splits"] for m in grid.sent if m.metadata.message_type == "query.complete"]
    assert splits and all(s == ["test"] for s in splits), "trained models need no other windows"
    assert scores(directory) == scores(again) and list(scores(again)["task"]) == ["condi", "estimate"]
    assert scores(directory)["task"]["condi"] != scores(before)["task"]["condi"]
    models = {p.name for p in path.glob("*.safetensors")}
    assert models == {p.name for p in again.path.glob("*.safetensors")}, "nothing of mask is copied"
    full_history = RunDirectory(before.path).load().history
    assert directory.load().history == [line for line in full_history if line["phase"] != "task-mask"], (
        "the cost is counted"
    )


@pytest.mark.parametrize("spoil", ["code", "checkpoint", "damage", "roster"])
def test_nothing_is_reused_from_a_run_that_cannot_be_trusted(tmp_path, monkeypatch, spoil):
    def study(run, *missingness):
        return tiny_study(
            tmp_path, run, monkeypatch, seeds=[0], missingness={}, test_missingness=list(missingness)
        )

    study(FakeRuns(), "").run_missing_cells()
    (run,) = (tmp_path / "runs").iterdir()
    if spoil == "code":
        (run / "versions.json").write_text('{"code": "older"}')
    elif spoil == "damage":
        (run / "checkpoint.safetensors").write_bytes(b"no")
    elif spoil == "roster":  # a damaged file would also hide the run's cells
        monkeypatch.setattr(RunDirectory, "roster", _damaged)
    else:
        (run / "checkpoint.safetensors").unlink()
    runner = study(again := FakeRuns(), "", "gaps=0.5")
    runner.run_missing_cells()
    assert not runner.failed and [s["resume"] for s in again.started] == [""]
    assert not any("trained already" in line for line in runner.messages)
    assert len(list((tmp_path / "runs").iterdir())) == 2, "nothing remains of the attempt"


def test_trained_models_serve_all_test_windows_also_after_an_interruption(tmp_path, monkeypatch):
    def study(run):
        return tiny_study(
            tmp_path, run, monkeypatch, seeds=[0, 1], missingness={}, test_missingness=["", "gaps=0.5"]
        )

    def stop(number):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(FakeRuns(stop_at=stop)).run_missing_cells()
    runner = study(run := FakeRuns())
    assert [run.trains for run in runner.grid.plan()] == [True, True, False, False]
    cells = runner.run_missing_cells()
    assert runner.progress.num_done == 4 and runner.progress.expected == [0, 0, 0.2, 0.2]
    assert [(s["seed"], bool(s["resume"])) for s in run.started] == [(0, True), (1, True)]
    assert len(cells) == 2 * 2 * 2 and not list(tmp_path.glob("runs/*.set-aside*"))
    assert "was interrupted before" in runner.messages[1] and "trained already" in runner.messages[3]
