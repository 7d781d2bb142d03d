"""Cells of a study: each is computed once, at the learning rate chosen on validation, and has its cost."""

import csv
import json
import math

import numpy as np
import pytest

from condi_core.run_files import read_result
from server_app.artifacts.estimates import Estimate
from server_app.study.errors import StudyError
from server_app.study.results import _imputation_replicates, best_rate, write_csv
from server_app.study.runner import RunNotCompletedError
from tests.helpers.fake_runs import FakeRuns, plain, tiny_study


def test_all_methods_of_a_scenario_and_seed_are_one_run_and_each_cell_is_run_once(tmp_path, monkeypatch):
    run = FakeRuns()
    cells = tiny_study(tmp_path, run, monkeypatch).run_missing_cells()
    assert len(run.started) == 2 * 3 and len(cells) == 2 * 3 * 2
    assert all((s["method"], s["compare-with"]) == ("mask", "condi") for s in run.started)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = FakeRuns()
    assert tiny_study(tmp_path, again, monkeypatch).run_missing_cells() == cells and not again.started
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_a_missing_source_is_reported_before_the_first_run(tmp_path, monkeypatch):
    run, data = FakeRuns(), {"made": {"dataset": "demo"}, "real": {"dataset": "ptb-xl"}}
    with pytest.raises(StudyError, match="data real: no source is given"):
        tiny_study(tmp_path, run, monkeypatch, data=data).run_missing_cells()
    with pytest.raises(StudyError, match=f"data real: there is no folder {tmp_path / 'absent'}"):
        tiny_study(
            tmp_path, run, monkeypatch, sources={"real": tmp_path / "absent"}, data=data
        ).run_missing_cells()
    assert not run.started


def test_a_study_that_grows_runs_only_the_new_cells(tmp_path, monkeypatch):
    tiny_study(tmp_path, FakeRuns(), monkeypatch, methods=["mask"], seeds=[0]).run_missing_cells()
    run = FakeRuns()
    cells = tiny_study(tmp_path, run, monkeypatch, seeds=[0, 1]).run_missing_cells()
    assert [(s["seed"], s["method"], s["compare-with"]) for s in run.started] == [
        (0, "condi", ""), (1, "mask", "condi"), (0, "condi", ""), (1, "mask", "condi")
    ]  # fmt: skip
    assert len(cells) == 2 * 2 * 2
    run = FakeRuns()
    tiny_study(tmp_path, run, monkeypatch, seeds=[0, 1], settings={"task": {"rounds": 2}}).run_missing_cells()
    assert len(run.started) == 4, "other settings are other cells"


def test_a_study_that_was_killed_is_resumed(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def stop(number):
        if number == 3:
            raise Killed

    with pytest.raises(Killed):
        tiny_study(tmp_path, FakeRuns(stop_at=stop), monkeypatch).run_missing_cells()
    done = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*")}
    finished = {p.parent for p in tmp_path.glob("runs/*/result.json")}
    assert len(finished) == 2
    run = FakeRuns()
    cells = tiny_study(tmp_path, run, monkeypatch).run_missing_cells()
    assert len(cells) == 12 and len(run.started) == 4
    assert run.started[0]["resume"] and run.started[0]["seed"] == 2 and not run.started[1]["resume"]
    assert all(p.stat().st_mtime_ns == at for p, at in done.items() if p.parent in finished)


def interrupt_first_run(folder, monkeypatch):
    """Start a study of one run, and interrupt that run."""

    def interrupt(number):
        raise KeyboardInterrupt

    runs = FakeRuns(stop_at=interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny_study(folder, runs, monkeypatch, seeds=[0], missingness={}).run_missing_cells()


def test_a_run_that_cannot_be_resumed_is_set_aside_and_started_again(tmp_path, monkeypatch):
    interrupt_first_run(tmp_path, monkeypatch)
    (interrupted,) = (tmp_path / "runs").iterdir()
    (interrupted / "note").write_text("unchanged")

    class Damaged(FakeRuns):
        def __call__(self, settings):
            if settings["resume"]:
                raise RunNotCompletedError("the checkpoint is damaged: start a new run")
            super().__call__(settings)

    runner = tiny_study(tmp_path, Damaged(), monkeypatch, seeds=[0], missingness={})
    assert len(runner.run_missing_cells()) == 2 and not runner.failed
    assert (interrupted.with_name(f"{interrupted.name}.set-aside-1") / "note").read_text() == "unchanged"
    assert any("the checkpoint is damaged" in line for line in runner.messages)


def test_a_run_that_fails_to_resume_for_another_reason_is_not_set_aside(tmp_path, monkeypatch):
    interrupt_first_run(tmp_path, monkeypatch)

    def full(number):
        raise RunNotCompletedError("no space left: free some space")

    failed = tiny_study(tmp_path, FakeRuns(stop_at=full), monkeypatch, seeds=[0], missingness={})
    assert failed.run_missing_cells() == [] and list(failed.failed.values()) == [
        "no space left: free some space"
    ]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert (
        len(
            tiny_study(
                tmp_path, again := FakeRuns(), monkeypatch, seeds=[0], missingness={}
            ).run_missing_cells()
        )
        == 2
    )
    assert again.started[0]["resume"]


def test_a_failed_run_has_no_cells_and_is_tried_again(tmp_path, monkeypatch):
    def stop(number):
        if number == 2:
            raise RunNotCompletedError("no memory")

    runner = tiny_study(tmp_path, FakeRuns(stop_at=stop), monkeypatch)
    assert len(runner.run_missing_cells()) == 10 and list(runner.failed.values()) == ["no memory"]
    assert len(tiny_study(tmp_path, again := FakeRuns(), monkeypatch).run_missing_cells()) == 12
    assert len(again.started) == 1


def test_progress_counts_cells(tmp_path, monkeypatch):
    runner = tiny_study(tmp_path, FakeRuns(), monkeypatch)
    runner.run_missing_cells()
    lines = [line for line in runner.messages if line.startswith("cells")]
    assert [line.split(",")[0] for line in lines] == [
        f"cells {2 * i + 1} to {2 * i + 2} of 12" for i in range(6)
    ]
    assert "time left is not known yet" in lines[0] and "left" in lines[1]


def test_a_plan_starts_nothing(tmp_path, monkeypatch):
    runner = tiny_study(tmp_path, run := FakeRuns(), monkeypatch, learning_rates=[0.1, 0.2])
    plan = list(runner.grid.plan())
    assert len(plan) == 2 * (3 + 1) and not any(planned.is_done for planned in plan)
    assert not run.started and not list(tmp_path.iterdir())
    runner.run_missing_cells()
    assert all(planned.is_done for planned in runner.grid.plan()) and len(run.started) == 8


def by_rate(test_of):
    """Validation is best at 0.02 for mask and at 0.05 for CondI."""
    best = {"mask": 0.02, "condi": 0.05}

    def scores(config, method):
        rate = config.task.learning_rate_for(method)
        return [0.9, abs(rate - best[method]), 0.8], test_of(rate)

    return scores


@pytest.mark.parametrize("test_of", [lambda rate: rate, lambda rate: -rate, lambda rate: math.nan])
def test_the_learning_rate_is_chosen_on_validation_alone(tmp_path, monkeypatch, test_of):
    run = FakeRuns(by_rate(test_of))
    runner = tiny_study(
        tmp_path, run, monkeypatch, learning_rates=[0.01, 0.02, 0.05], test_missingness=["", "gaps=0.5"]
    )
    cells = runner.run_missing_cells()
    assert {(cell.method, cell.learning_rate) for cell in cells} == {("mask", 0.02), ("condi", 0.05)}
    assert len(cells) == 2 * 3 * 2 * 2
    # Each scenario has three trials, which serve the first seed, then the other seeds. Other missingness in
    # test needs no trials and trains nothing; its models of the first seed are in the runs of two rates.
    assert len(run.started) == 2 * (3 + 2 + 2 + 2)
    assert [bool(s["resume"]) for s in run.started] == [bool(s["test-missingness"]) for s in run.started]
    assert all(cell.validation_loss == 0 for cell in cells)
    trials = runner.grid.trials()
    assert len(trials) == 2 * 2 * 3 and sum(row["chosen"] for row in trials) == 4
    assert {row["learning-rate"] for row in trials if row["chosen"]} == {0.02, 0.05}


def test_the_first_rate_is_chosen_without_validation_windows():
    assert best_rate({0.3: math.nan, 0.1: math.nan}) == 0.3
    assert best_rate({0.3: math.nan, 0.1: 2.0}) == 0.1
    assert best_rate({0.3: 1.0, 0.1: 1.0}) == 0.3


def test_local_epochs_become_steps_of_the_mean_site(tmp_path, monkeypatch):
    run = FakeRuns()
    batches = {"task": {"batch": 4}, "imputer": {"batch": 8}}
    tiny_study(tmp_path, run, monkeypatch, local_epochs=3, settings=batches).run_missing_cells()
    # Eight training windows a site: three epochs are 24 windows.
    assert {(s["task.steps"], s["imputer.steps"]) for s in run.started} == {(6, 3)}


def test_a_row_has_every_factor_metric_and_cost(tmp_path, monkeypatch):
    missingness = {"points": 0.5, "modality-by-window": 0.5, "subsample-to": 2.5}
    study = tiny_study(
        tmp_path, FakeRuns(), monkeypatch, missingness=missingness, test_missingness=["points=0.0"]
    )
    mask, condi, *_ = study.run_missing_cells()
    assert mask.metrics["auroc"] == plain_auroc(0, "mask") and condi.metrics["auroc"] == plain_auroc(
        0, "condi"
    )
    assert mask.missing_fraction == pytest.approx(1 - 0.5 * 0.5 * 0.5)  # 2.5 of 5 samples a patch
    assert mask.missing_fraction_in_test == pytest.approx(1 - 0.5 * 0.5)
    assert mask.seconds == 3 and condi.seconds == 13, "methods that use the imputer have the cost of phase 1"
    assert mask.bytes_down == 300 and condi.bytes_up == 13 * 50
    assert mask.parameters == 7 + 4 and condi.parameters == 7 + 4 + 30
    assert condi.imputation["gaps 50 %"]["linear"]["rmse"] == 0.4 and not mask.imputation
    assert mask.local_steps == condi.local_steps == 5 * 20
    assert (tmp_path / "runs" / mask.run).is_dir() and mask.run == condi.run
    assert len(mask.missingness_settings) == 11
    assert mask.test_missingness == "points=0.0" and mask.validation_loss == 0.5
    row = condi.row()
    assert row["auroc"] == condi.metrics["auroc"] and row["imputation: gaps 50 %: linear: rmse"] == 0.4
    assert sum(column.startswith("missingness.") for column in row) == 11


def plain_auroc(seed, method):
    class Config:
        missingness = {"points": 0.5}

    Config.seed = seed
    return plain(Config, method)[1]


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def as_text(rows):
    """Return rows as a CSV file has them: every column in each, and empty where there is no value."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{c: "" if row.get(c) is None else str(row[c]) for c in columns} for row in rows]


def test_cells_are_written_as_csv(tmp_path, monkeypatch):
    study = tiny_study(tmp_path, FakeRuns(), monkeypatch, data={"2012": {"dataset": "demo"}})
    cells = study.run_missing_cells()
    rows = [cell.row() for cell in cells]
    rows[0]["f1"] = None
    write_csv(rows, tmp_path / "cells.csv")
    assert read_rows(tmp_path / "cells.csv") == as_text(rows)
    odd = [{"data": 'a,"b"\nc', "auroc": math.nan, "seed": 3}]
    write_csv(odd, tmp_path / "odd.csv")
    assert read_rows(tmp_path / "odd.csv") == as_text(odd)
    assert not list(tmp_path.glob(".*.csv*"))


def test_a_damaged_result_is_run_again(tmp_path, monkeypatch):
    tiny_study(tmp_path, FakeRuns(), monkeypatch).run_missing_cells()
    results = sorted(tmp_path.glob("runs/*/result.json"))
    results[0].write_text("{half")
    run = FakeRuns()
    assert len(tiny_study(tmp_path, run, monkeypatch).run_missing_cells()) == 12 and len(run.started) == 1
    assert json.loads(results[0].read_text())["task"]


def test_a_cell_names_the_code_that_computed_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.fake_runs.fingerprint", lambda: "before")
    tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0]).run_missing_cells()
    monkeypatch.setattr("tests.helpers.fake_runs.fingerprint", lambda: "after")
    cells = tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0, 1]).run_missing_cells()
    assert {(cell.seed, cell.code) for cell in cells} == {(0, "before"), (1, "after")}


def test_a_cell_has_the_replicates_that_sites_have_sent(tmp_path, monkeypatch):
    runner = tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0], missingness={"points": 0.2})
    cells = runner.run_missing_cells()
    assert not cells[0].replicates and cells[0].score("auroc").replicates is None
    run = tmp_path / "runs" / cells[0].run
    (run / "replicates-task-mask.safetensors").touch()
    estimates = {"auroc": Estimate(0.7, np.array([0.6, 0.8])), "f1": Estimate(0.5)}
    monkeypatch.setattr("server_app.study.results.read_run", lambda path: path)
    monkeypatch.setattr("server_app.study.results.task_estimates", lambda path, method: estimates)
    mask, condi = runner.grid.cells()
    assert mask.score("auroc").replicates.tolist() == [0.6, 0.8] and list(mask.replicates) == ["auroc"]
    assert not condi.replicates


def test_a_cell_has_replicates_of_each_score_of_its_imputers(made):
    assert not _imputation_replicates(made[1], "mask")
    replicates = _imputation_replicates(made[1], "condi")
    for pattern, imputers in read_result(made[1])["imputation"].items():
        for imputer, metrics in imputers.items():
            drawn = replicates[pattern, imputer, "rmse"]
            assert drawn.min() < metrics["rmse"] < drawn.max()
