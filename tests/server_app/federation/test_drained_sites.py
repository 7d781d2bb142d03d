"""Sites that are drained for maintenance during a run, and readmitted."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from typer.testing import CliRunner

from condi_core.run_files import read_history
from server_app.artifacts.participation import change_drained, read_drained
from server_app.cli import app
from server_app.errors import RunError
from server_app.federation.drained_sites import wait_for_undrained
from tests.helpers.watched_run import line, write_watched_run

SETTINGS = {"method": "mask", "compare-with": "", "task.rounds": 5, "min-sites": 2}


def drain_in_round(run, drain: int, readmit: int):
    """Return a `tamper` that drains site-1 while it trains in a round, and readmits it in a later one."""

    def tamper(request, reply):
        config = request.content.config_records.get("config", {})
        if request.metadata.message_type == "train.task":
            if config["server-round"] == drain:
                change_drained(run, ["site-1"])
            if config["server-round"] == readmit:
                change_drained(run, removed=["site-1"])
        return reply

    return tamper


def test_a_drained_site_finishes_its_message_and_is_asked_again_when_it_is_readmitted(
    run_local, federation, tmp_path
):
    run = tmp_path / "runs" / "drained"
    directory, grid = run_local(federation, SETTINGS | {"name": "drained"}, drain_in_round(run, 2, 4))
    assert directory.path == run
    lines = read_history(run)
    assert [sorted(entry["site-seconds"]) for entry in lines] == [
        ["site-0", "site-1", "site-2"],
        ["site-0", "site-1", "site-2"],  # it was drained while it worked on this one
        ["site-0", "site-2"],
        ["site-0", "site-2"],
        ["site-0", "site-1", "site-2"],
    ]
    assert [entry["sites-asked"] for entry in lines] == [3, 3, 2, 2, 3]
    assert not any(entry["failures"] for entry in lines)
    asked = [m.metadata.group_id for m in grid.sent if m.metadata.message_type == "evaluate.task"]
    assert asked.count("site-1") >= 1  # the test, at the end


def test_a_run_waits_for_min_sites_and_then_ends_with_its_checkpoint(run_local, federation, tmp_path):
    run = tmp_path / "runs" / "few"
    with pytest.raises(
        RunError, match="2 of 3 sites are not drained, but min-sites is 3: readmit site-1"
    ) as e:
        run_local(federation, SETTINGS | {"name": "few", "min-sites": 3}, drain_in_round(run, 1, 9))
    assert f"condi sites {run} --readmit SITE" in str(e.value) and "resume=" in str(e.value)
    assert len(read_history(run)) == 1


def test_sites_that_only_score_do_not_stand_in_for_those_that_train(tmp_path):
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

    def ask(site: str, kind: str) -> Message:
        return Message(RecordDict({"config": ConfigRecord()}), 1, kind, group_id=site)

    requests = [ask("a", "train.task"), ask("b", "train.task"), ask("c", "evaluate.task")]
    requests.append(ask("d", "evaluate.task"))
    change_drained(tmp_path, ["b"])
    assert wait_for_undrained(tmp_path, requests, 1, 0.0) == [requests[0], *requests[2:]]
    with pytest.raises(RunError, match="3 of 4 sites are not drained, but min-sites is 2: readmit b"):
        wait_for_undrained(tmp_path, requests, 2, 0.0)


def test_changes_of_several_processes_at_once_are_all_noted(tmp_path):
    change_drained(tmp_path, [f"old-{i}" for i in range(50)])
    with ThreadPoolExecutor(2) as pool:
        add = pool.map(lambda i: change_drained(tmp_path, [f"new-{i}"]), range(50))
        remove = pool.map(lambda i: change_drained(tmp_path, removed=[f"old-{i}"]), range(50))
        list(zip(add, remove, strict=True))
    assert read_drained(tmp_path) == {f"new-{i}" for i in range(50)}


def test_the_command_drains_readmits_and_refuses_unknown_sites(tmp_path, small_settings):
    run = write_watched_run(tmp_path / "run", small_settings(), [line("imputer", 1)])

    def sites(*options: str):
        return CliRunner().invoke(app, ["sites", str(run), *options])

    assert sites("--drain", "north", "--drain", "south").exit_code == 0
    assert read_drained(run) == {"north", "south"}
    shown = sites("--readmit", "north", "--wait")  # a run that has ended has nothing to wait for
    assert shown.exit_code == 0 and read_drained(run) == {"south"}
    assert [text.endswith("drained") for text in shown.output.splitlines() if text.startswith("south")] == [
        True
    ]
    refused = sites("--drain", "nobody")
    assert refused.exit_code == 2 and "has no site nobody" in refused.output
    (run / "drained.json").write_text("{}")
    assert "drained.json is damaged" in sites().output
