"""What `condi watch` knows of a run: from real runs, and of sites at work, away and excluded."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from condi_core.config import RunConfig
from condi_core.run_files import read_config, read_history
from server_app.cli import app
from server_app.watch.snapshot import planned_rounds, seconds_left, take_snapshot
from server_app.watch.terminal import describe_status, draw
from tests.helpers.watched_run import ESCAPE, HOSTILE, NOW, line, write_watched_run


@pytest.fixture
def watched(tmp_path, small_settings):
    failures = {"south": "it did not answer", "north (evaluation)": HOSTILE}
    history = [line("relation", 1, metrics={}), line("imputer", 1), line("imputer", 2, failures=failures)]
    settings = small_settings({"imputer.rounds": 5, "task.rounds": 2, "compare-with": "mask"})
    return write_watched_run(tmp_path / "runs" / "mine", settings, history)


def sites(snapshot: dict) -> dict[str, dict]:
    return {site["name"]: site for site in snapshot["sites"]}


def test_sites_at_work_idle_away_and_excluded(watched):
    snapshot = take_snapshot(watched, NOW)
    by_name = sites(snapshot)
    assert (by_name["north"]["state"], by_name["north"]["seconds"]) == ("trains", 130)
    assert (by_name[HOSTILE]["state"], by_name[HOSTILE]["seconds"]) == ("idle", 30)
    assert (by_name["south"]["state"], by_name["south"]["seconds"]) == ("not connected", None)
    assert by_name["?[2Jgone[bold]"]["state"] == f"excluded: {HOSTILE}"
    assert by_name["north"]["failures"] == 1 and by_name["north"]["last-failure"] == HOSTILE
    assert by_name["south"]["last-failure"] == "it did not answer"
    assert snapshot["doing"] == "imputer, round 4: the sites train"
    assert snapshot["bytes"] == {"down": 6_000_000, "up": 3_000_000}
    assert (snapshot["run"], snapshot["status"], snapshot["seconds"]) == ("mine", "running", 600)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("progress.json", "{}"),
        ("progress.json", '{"status": "running"}'),
        ("history.jsonl", '{"phase": "x"}\n'),
        ("roster.json", '{"north": {}}'),
    ],
)
def test_a_damaged_run_is_refused_in_one_sentence(watched, file, content):
    (watched / file).write_text(content)
    for command in (["watch", str(watched), "--once"], ["sites", str(watched)]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1 and "is damaged or was written by another version" in " ".join(
            done.output.split()
        )


def test_the_time_left_needs_a_round_of_every_kind(watched):
    assert take_snapshot(watched, NOW)["seconds-left"] is None  # no task model has been trained
    with (watched / "history.jsonl").open("a") as file:
        file.write(json.dumps(line("task-condi", 1, seconds=4.0)) + "\n")
    # One round of the same task model, and two of the other like it. The imputer has ended early.
    assert take_snapshot(watched, NOW)["seconds-left"] == 1 * 4 + 2 * 4


def test_the_time_left_is_that_of_the_current_phase_and_of_later_ones():
    phases = [{"name": "relation", "rounds": 3, "done": 3}, {"name": "imputer", "rounds": 5, "done": 2}]
    history = [line("imputer", i, seconds=4.0 + i) for i in (1, 2)]
    assert seconds_left(phases, history) == 3 * 5.5
    assert seconds_left(phases, []) is None


def test_a_coordinator_without_news_is_reported(watched):
    snapshot = take_snapshot(watched, NOW + 300)
    assert snapshot["status"] == "silent" and snapshot["silent-seconds"] == 302
    assert {site["state"] for site in snapshot["sites"]} <= {"", f"excluded: {HOSTILE}"}


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_a_run_that_has_ended_shows_how_and_why(tmp_path, small_settings, status):
    ended = {"status": status, "reason": "the disk is full"}
    run = write_watched_run(tmp_path / "run", small_settings(), [line("imputer", 1)], **ended)
    assert describe_status(take_snapshot(run, NOW)) == f"{status} after 10 min: the disk is full"


def test_the_terminal_shows_no_markup_and_no_control_characters_of_sites(watched):
    console = Console(record=True, width=160, file=open("/dev/null", "w"), force_terminal=True)
    console.print(draw(take_snapshot(watched, NOW)))
    text = console.export_text(styles=False)
    assert HOSTILE in text and "?[2Jgone[bold]" in text and ESCAPE not in text
    assert "running for 10 min, time left not known yet" in text
    assert "imputer 2" in text and "rmse 0.250" in text


def test_numbers_that_are_not_finite_are_none(tmp_path, small_settings):
    nan = float("nan")
    history = [line("imputer", 1, loss=nan, metrics={"score": nan}, **{"selection-score": float("inf")})]
    run = write_watched_run(tmp_path / "run", small_settings(), history)
    (shown,) = take_snapshot(run, NOW)["history"]
    assert (shown["loss"], shown["metrics"], shown["selection-score"]) == (None, {"score": None}, None)


def test_a_finished_run_has_done_the_planned_rounds(finished_run):
    run = finished_run()[0].path
    rounds: dict[str, int] = {}
    for entry in read_history(run):
        rounds[entry["phase"]] = rounds.get(entry["phase"], 0) + 1
    assert planned_rounds(read_config(run), True) == rounds
    snapshot = take_snapshot(run)
    assert (snapshot["status"], snapshot["doing"], snapshot["seconds-left"]) == ("completed", "", None)
    progress = json.loads((run / "progress.json").read_text())
    assert sorted(progress["sites"]) == ["site-0", "site-1", "site-2"]
    assert all(site["answered"] for site in progress["sites"].values())
    assert progress["request"]["kind"] == "evaluate.task" and progress["request"]["split"] == "test"


def test_a_failed_run_has_its_reason(run_local, federation):
    def refuse(request, reply):
        return None if request.metadata.message_type == "train.imputer" else reply

    with pytest.raises(Exception, match="only 0 of 3 sites"):
        run_local(federation, {"name": "failed"}, refuse)
    run = federation.parent / "runs" / "failed"
    snapshot = take_snapshot(run)
    assert snapshot["status"] == "failed" and "only 0 of 3 sites sent a valid reply" in snapshot["reason"]


def test_watch_shows_a_run_once_and_refuses_another_folder(watched, tmp_path):
    shown = CliRunner().invoke(app, ["watch", str(watched), "--once"])
    assert shown.exit_code == 0 and "no news for" in shown.output and "relation 1" in shown.output
    refused = CliRunner().invoke(app, ["watch", str(tmp_path)])
    assert refused.exit_code == 1 and "is not a run directory: it has no config.json." in refused.output


def test_a_run_of_a_method_that_is_not_installed_can_be_watched(small_settings):
    config = RunConfig.from_flat(small_settings({"method": "own", "compare-with": "mask"}))
    assert planned_rounds(config, True) == {"task-own": 2, "task-mask": 2}
