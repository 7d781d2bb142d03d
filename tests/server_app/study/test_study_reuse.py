"""Other holes in test are scored with what was trained, as if it had been trained again."""

import json
import shutil

import pytest

from server_app.artifacts.run_directory import RunDirectory
from server_app.errors import RunError
from server_app.study.reuse import reuse_training
from server_app.study.runner import ENGINE_SECONDS, Progress
from tests.helpers.fake_runs import FakeRuns, tiny_study
from tests.helpers.tiny_federation import write_tiny

HARDER = "gaps=0.6 gap-patches=2"
SHORT = {"imputer.rounds": 1, "imputer.relation-rounds": 2, "task.rounds": 2, "method": "condi"}


@pytest.fixture
def federation(tmp_path):
    return write_tiny(tmp_path / "federation", sites=2, train=8, val=4, test=4)


def _damaged(self):
    raise RunError("roster.json is damaged")


def scores(directory):
    return json.loads((directory.path / "result.json").read_text())


def test_scores_are_those_of_training_again(federation, run_local, tmp_path):
    before, _ = run_local(federation, SHORT | {"compare-with": "mask,estimate", "name": "before"})
    settings = json.loads((before.path / "config.json").read_text())
    again, grid = run_local(
        federation, SHORT | {"compare-with": "estimate", "test-missingness": HARDER, "name": "again"}
    )
    trained = [m.metadata.message_type for m in grid.sent].count("train.task")

    carried = settings | {"name": "carried", "test-missingness": HARDER, "compare-with": "estimate"}
    assert reuse_training(before.path, carried)
    path = before.path.with_name("carried")
    shutil.rmtree(tmp_path / "cache")
    directory, grid = run_local(federation, carried | {"resume": str(path)})
    assert directory.path == path
    kinds = {m.metadata.message_type for m in grid.sent}
    assert trained and not [kind for kind in kinds if kind.startswith("train")]
    asked = [m.content["config"]["splits"] for m in grid.sent if m.metadata.message_type == "query.complete"]
    assert asked and all(splits == ["test"] for splits in asked), "what is trained needs no other windows"
    assert scores(directory) == scores(again) and list(scores(again)["task"]) == ["condi", "estimate"]
    assert scores(directory)["task"]["condi"] != scores(before)["task"]["condi"]
    models = {p.name for p in path.glob("*.safetensors")}
    assert models == {p.name for p in again.path.glob("*.safetensors")}, "and nothing of mask"
    whole = RunDirectory(before.path).load().history
    assert directory.load().history == [line for line in whole if line["phase"] != "task-mask"], "at its cost"


@pytest.mark.parametrize("spoil", ["code", "checkpoint", "damage", "roster"])
def test_nothing_is_carried_over_from_what_cannot_be_trusted(tmp_path, monkeypatch, spoil):
    def study(run, *missingness):
        return tiny_study(
            tmp_path, run, monkeypatch, seeds=[0], missingness={}, test_missingness=list(missingness)
        )

    study(FakeRuns(), "")()
    (run,) = (tmp_path / "runs").iterdir()
    if spoil == "code":
        (run / "versions.json").write_text('{"code": "older"}')
    elif spoil == "damage":
        (run / "checkpoint.safetensors").write_bytes(b"no")
    elif spoil == "roster":  # whose run has cells that are damaged too, were it there for all to see
        monkeypatch.setattr(RunDirectory, "roster", _damaged)
    else:
        (run / "checkpoint.safetensors").unlink()
    done = study(again := FakeRuns(), "", "gaps=0.5")
    done()
    assert not done.failed and [s["resume"] for s in again.started] == [""]
    assert not any("trained already" in line for line in done.said)
    assert len(list((tmp_path / "runs").iterdir())) == 2, "and nothing is left of the attempt"


def test_what_was_trained_serves_all_test_holes_and_goes_on_when_killed(tmp_path, monkeypatch):
    def study(run):
        return tiny_study(
            tmp_path, run, monkeypatch, seeds=[0, 1], missingness={}, test_missingness=["", "gaps=0.5"]
        )

    def stop(number):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(FakeRuns(stop_at=stop))()
    done = study(run := FakeRuns())
    assert [trains for _, _, trains in done.plan()] == [True, True, False, False]
    rows = done()
    assert (done.progress.done, done.progress.seconds[True]) == (4, []), "nothing was trained"
    assert [(s["seed"], bool(s["resume"])) for s in run.started] == [(0, True), (1, True)]
    assert len(rows) == 2 * 2 * 2 and not list(tmp_path.glob("runs/*.set-aside*"))
    assert "it was begun before" in done.said[1] and "trained already" in done.said[3]


def test_time_left_counts_what_is_only_scored_too():
    progress = Progress([True, True, False, False, False])
    assert progress.left == "time left is not known yet"
    progress.done, progress.seconds = 1, {True: [600.0], False: []}
    assert progress.left == f"about {(600 + 3 * ENGINE_SECONDS) / 60:.0f} min left"
    progress.done, progress.seconds = 3, {True: [600.0, 540.0], False: [30.0]}
    assert progress.left == "about 60 s left"
