"""The time that a study takes: from operations, windows and settings, and from finished runs."""

import itertools
import os
from concurrent.futures import BrokenExecutor
from dataclasses import replace

import pytest

from server_app.settings import validate_settings
from server_app.study.data_sizes import measure_data
from server_app.study.design import read_study
from server_app.study.dry_run import describe_plan, summarise_plan
from server_app.study.federations import Federations
from server_app.study.forecast import Forecast, finished_seconds
from server_app.study.grid import StudyGrid
from server_app.study.timing import time_in_parallel, time_operations
from server_app.study.workload import (
    EXCHANGE_SECONDS,
    OperationSeconds,
    SiteWindows,
    Workload,
)
from tests.helpers.fake_runs import STUDY, FakeRuns, tiny_study
from tests.helpers.tiny_federation import write_tiny

SETTINGS = {
    "imputer.relation-rounds": 3, "imputer.rounds": 2, "imputer.steps": 10, "imputer.batch": 8,
    "imputer.samples": 5, "task.rounds": 4, "task.steps": 6, "task.completions": 0,
}  # fmt: skip
SITES = [SiteWindows(100, 10, 20), SiteWindows(50, 10, 20)]


def operations(**seconds):
    """Operations that take no time, but for some."""
    free = dict.fromkeys(("start", "mask", "relation", "prepare", "point", "draw", "imputer_step"), 0.0)
    by_method = dict.fromkeys(("mask", "condi", "pooled"), 0.0)
    return OperationSeconds(**{**free, "task_step": by_method, "task_window": by_method, **seconds})


def beyond_messages(methods, trains=True, workers=1, settings=SETTINGS, **seconds):
    """Return the seconds of a run beyond those in which nothing takes time."""
    study = read_study(STUDY)
    config = validate_settings(study.run_settings(study.scenarios[0], 0) | settings)

    def total(ops):
        return Workload(config, methods, SITES, workers, ops).seconds(trains)

    return total(operations(**seconds)) - total(operations())


def test_steps_and_windows_take_their_time():
    assert beyond_messages(["mask"], task_step={"mask": 1.0}) == pytest.approx(4 * 6 * 2), (
        "rounds, steps, sites"
    )
    assert beyond_messages(["mask"], task_step={"mask": 1.0}, workers=2) == pytest.approx(4 * 6)
    # Four rounds of validation with 20 windows, and a test of 40.
    assert beyond_messages(["mask"], task_window={"mask": 1.0}) == pytest.approx(4 * 20 + 40)
    assert beyond_messages(["mask"], relation=1.0, draw=1.0, imputer_step=1.0) == 0, "no phase 1"
    assert beyond_messages(["condi"], imputer_step=1.0) == pytest.approx(2 * 10 * 2)
    # Two rounds of EM beyond the first, and nine steps at each site.
    assert beyond_messages(["condi"], relation=1.0) == pytest.approx(2 * 150 + 9 * 150)
    assert beyond_messages(["condi"], draw=1.0) == pytest.approx(3 * 5 * 40), "patterns, draws, test windows"
    assert beyond_messages(["pooled"], imputer_step=1.0) == pytest.approx(2 * 10 * 2), (
        "one site, larger batches"
    )


def test_a_run_that_only_scores_trains_nothing():
    trained = dict.fromkeys(("relation", "imputer_step"), 1.0)
    assert beyond_messages(["condi"], trains=False, task_step={"condi": 1.0}, **trained) == 0
    assert beyond_messages(["mask"], trains=False, task_window={"mask": 1.0}) == pytest.approx(40)


def test_every_message_and_the_engine_take_time():
    study = read_study(STUDY)
    config = validate_settings(study.run_settings(study.scenarios[0], 0) | SETTINGS)
    seconds = Workload(config, ["mask"], SITES, 1, operations(start=10.0)).seconds()
    # Sums, four rounds of training and validation, and the test, each of two sites.
    assert seconds == pytest.approx(6 * 10.0 + (1 + 2 * 4 + 1) * 2 * EXCHANGE_SECONDS)


def test_operations_are_timed_by_the_clock(tmp_path):
    federation = write_tiny(tmp_path / "waves", sites=2)
    study = read_study({**STUDY, "data": {"waves": {"federation": str(federation)}}})
    scenario = study.scenarios[0]
    config = validate_settings(study.run_settings(scenario, 0) | {"imputer.width": 8, "imputer.blocks": 1})
    schema, sites, sample = measure_data(Federations(study, tmp_path, {}), scenario, 0)
    assert sites == [SiteWindows(8, 3, 3)] * 2 and sample[0].shape == (8, *schema.shape)
    ticks = itertools.count(step=32)  # each operation takes 32 s, for 16 windows or two steps
    timed = time_operations(schema, config, ["condi", "linear"], sample, clock=lambda: next(ticks))
    assert (timed.mask, timed.relation, timed.prepare, timed.point) == (2.0,) * 4 and timed.draw == 0
    assert timed.imputer_step == 16 and timed.task_step == {"condi": 16.0, "linear": 16.0}
    assert timed.task_window == {"condi": 2.0, "linear": 2.0}
    generated = time_operations(schema, config, ["condi", "linear"], clock=lambda: next(ticks))
    assert generated == timed, "windows are generated where none can be read"


def test_several_processes_give_their_mean():
    first, second = operations(mask=1.0, task_step={"mask": 4.0}), operations(task_step={"mask": 2.0})
    mean = OperationSeconds.mean(
        [first, replace(second, task_window={"mask": 1.0, "condi": 2.0, "pooled": 0.0})]
    )
    assert mean.mask == 0.5 and mean.draw == 0 and mean.task_step == {"mask": 3.0}
    assert mean.task_window == {"mask": 0.5, "condi": 1.0, "pooled": 0.0}


def test_a_process_that_ends_leaves_the_timing_to_this_one(monkeypatch):
    def fail(*arguments):
        raise BrokenExecutor

    monkeypatch.setattr("server_app.study.timing.ProcessPoolExecutor", fail)
    monkeypatch.setattr("server_app.study.timing.time_operations", lambda *_: "timed here")
    assert time_in_parallel(None, None, ["mask"], None, workers=2) == "timed here"


@pytest.mark.slow
def test_operations_are_timed_in_processes_of_their_own(tmp_path):
    federation = write_tiny(tmp_path / "waves", sites=2)
    study = read_study({**STUDY, "data": {"waves": {"federation": str(federation)}}})
    runs = list(StudyGrid(study, tmp_path, Federations(study, tmp_path, {})).plan())
    forecast = Forecast(StudyGrid(study, tmp_path, Federations(study, tmp_path, {})), workers=2)
    assert 1 < forecast.seconds(runs[0]) < 1000
    assert forecast.seconds(runs[0]) == forecast.seconds(runs[1]), "timed once"


def forecast_of(runner):
    return Forecast(runner.grid, workers=1, time_operations=lambda *_: operations(start=4.0))


def test_finished_runs_correct_the_forecast(tmp_path, monkeypatch):
    runner = tiny_study(
        tmp_path, FakeRuns(), monkeypatch, data={"waves": {"federation": str(tmp_path / "w")}}
    )
    write_tiny(tmp_path / "w", sites=2)
    before = summarise_plan(runner.grid, forecast_of(runner))
    assert before["seconds"] > 6 * 20 and before["basis"] == "from operations timed on this machine"
    study = {"seeds": [0, 1, 2, 3, 4, 5], "data": {"waves": {"federation": str(tmp_path / "w")}}}
    runner.run_missing_cells()
    for result in tmp_path.glob("runs/*/result.json"):  # as if each run had taken 500 s
        started = (result.parent / "versions.json").stat().st_mtime
        os.utime(result, (started + 500, started + 500))
    larger = tiny_study(tmp_path, FakeRuns(), monkeypatch, **study)
    after = summarise_plan(larger.grid, forecast_of(larger))
    assert after["seconds"] == pytest.approx(6 * 500) and "6 finished runs" in after["basis"]
    assert sum(run["done"] for run in after["runs"]) == 6


def test_the_time_of_a_copied_run_is_at_least_that_of_its_rounds(tmp_path, monkeypatch):
    runner = tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0], missingness={"points": 0.2})
    runner.run_missing_cells()
    (run,) = (tmp_path / "runs").iterdir()
    assert finished_seconds(run) == pytest.approx(10 + 2 * 3), "rounds of one second each"


def test_the_pause_before_a_resumption_does_not_count(tmp_path, monkeypatch):
    runner = tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0], missingness={"points": 0.2})
    runner.run_missing_cells()
    (run,) = (tmp_path / "runs").iterdir()
    for file, written in {"config.json": 0, "versions.json": 80_000, "result.json": 80_030}.items():
        os.utime(run / file, (written, written))
    assert finished_seconds(run) == 30, "from the resumption on, which is more than the rounds"


def test_a_dry_run_names_everything_that_is_missing_and_has_no_time(tmp_path, monkeypatch):
    data = {
        "a": {"dataset": "ptb-xl"},
        "b": {"file": str(tmp_path / "dataset.toml"), "source": str(tmp_path / "absent")},
        "c": {"federation": str(tmp_path / "none")},
    }
    study = read_study(STUDY | {"data": data})
    sources = {"b": tmp_path / "absent"}
    monkeypatch.setattr("server_app.study.federations.federation_name", lambda *_: "absent")
    monkeypatch.setattr("server_app.study.dry_run.matplotlib_is_installed", lambda: False)
    grid = StudyGrid(study, tmp_path, Federations(study, tmp_path, sources))
    summary = summarise_plan(grid, Forecast(grid, 1))
    assert summary["seconds"] is None and [text.partition(":")[0] for text in summary["missing"]] == [
        "data a", "data b", "data c",
    ]  # fmt: skip
    text = describe_plan(summary, 2)
    assert "18 runs of 2 methods, 36 cells; 18 runs left" in text and "about" not in text
    assert "matplotlib is not installed" in text


def test_the_demo_is_counted_without_preparing_it(tmp_path):
    study = read_study(STUDY | {"partition": {"split": "natural", "seed": 0}})
    schema, sites, sample = measure_data(Federations(study, tmp_path, {}), study.scenarios[0], 0)
    assert len(sites) == 4 and schema.shape == (12, 100, 10)
    assert sum(map(sum, sites)) == pytest.approx(600, abs=20) and not list(tmp_path.iterdir())
