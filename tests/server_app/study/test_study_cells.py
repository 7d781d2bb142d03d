"""Cells of a study: each is computed once, at the rate that validation chooses, and says what it cost."""

import json
import math

import pytest

from server_app.study.design import StudyError
from server_app.study.results import best_rate, read_csv, write_csv
from server_app.study.runner import RunNotCompletedError
from tests.helpers.fake_runs import FakeRuns, plain, tiny_study


def test_all_methods_of_a_scenario_and_seed_are_one_run_and_each_cell_is_run_once(tmp_path, monkeypatch):
    run = FakeRuns()
    rows = tiny_study(tmp_path, run, monkeypatch)()
    assert len(run.started) == 2 * 3 and len(rows) == 2 * 3 * 2
    assert all((s["method"], s["compare-with"]) == ("mask", "condi") for s in run.started)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = FakeRuns()
    assert tiny_study(tmp_path, again, monkeypatch)() == rows and not again.started
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_a_source_that_is_not_there_is_found_before_the_first_run(tmp_path, monkeypatch):
    run, data = FakeRuns(), {"made": {"dataset": "demo"}, "real": {"dataset": "ptb-xl"}}
    with pytest.raises(StudyError, match="data real: no source is given"):
        tiny_study(tmp_path, run, monkeypatch, data=data)()
    with pytest.raises(StudyError, match=f"data real: there is no folder {tmp_path / 'absent'}"):
        tiny_study(tmp_path, run, monkeypatch, sources={"real": tmp_path / "absent"}, data=data)()
    assert not run.started


def test_a_study_that_grows_runs_what_is_new_alone(tmp_path, monkeypatch):
    tiny_study(tmp_path, FakeRuns(), monkeypatch, methods=["mask"], seeds=[0])()
    run = FakeRuns()
    rows = tiny_study(tmp_path, run, monkeypatch, seeds=[0, 1])()
    assert [(s["seed"], s["method"], s["compare-with"]) for s in run.started] == [
        (0, "condi", ""), (1, "mask", "condi"), (0, "condi", ""), (1, "mask", "condi")
    ]  # fmt: skip
    assert len(rows) == 2 * 2 * 2
    run = FakeRuns()
    tiny_study(tmp_path, run, monkeypatch, seeds=[0, 1], settings={"task": {"rounds": 2}})()
    assert len(run.started) == 4, "other settings are other cells"


def test_a_study_that_was_killed_goes_on(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def stop(number):
        if number == 3:
            raise Killed

    with pytest.raises(Killed):
        tiny_study(tmp_path, FakeRuns(stop_at=stop), monkeypatch)()
    done = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*")}
    finished = {p.parent for p in tmp_path.glob("runs/*/result.json")}
    assert len(finished) == 2
    run = FakeRuns()
    rows = tiny_study(tmp_path, run, monkeypatch)()
    assert len(rows) == 12 and len(run.started) == 4
    assert run.started[0]["resume"] and run.started[0]["seed"] == 2 and not run.started[1]["resume"]
    assert all(p.stat().st_mtime_ns == at for p, at in done.items() if p.parent in finished)


def test_a_run_that_cannot_go_on_is_set_aside_and_begun_anew(tmp_path, monkeypatch):
    def stop(number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_study(tmp_path, FakeRuns(stop_at=stop), monkeypatch, seeds=[0], missingness={})()
    (begun,) = (tmp_path / "runs").iterdir()
    (begun / "note").write_text("kept")

    class Damaged(FakeRuns):
        def __call__(self, settings):
            if settings["resume"]:
                raise RunNotCompletedError("the checkpoint is damaged: start a new run")
            super().__call__(settings)

    done = tiny_study(tmp_path, Damaged(), monkeypatch, seeds=[0], missingness={})
    assert len(done()) == 2 and not done.failed
    assert (begun.with_name(f"{begun.name}.set-aside-1") / "note").read_text() == "kept"
    assert any("the checkpoint is damaged" in line for line in done.said)


def test_a_run_that_fails_to_go_on_for_another_reason_is_kept(tmp_path, monkeypatch):
    def stop(number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_study(tmp_path, FakeRuns(stop_at=stop), monkeypatch, seeds=[0], missingness={})()

    def full(number):
        raise RunNotCompletedError("no space left: make room")

    failed = tiny_study(tmp_path, FakeRuns(stop_at=full), monkeypatch, seeds=[0], missingness={})
    assert failed() == [] and list(failed.failed.values()) == ["no space left: make room"]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert len(tiny_study(tmp_path, again := FakeRuns(), monkeypatch, seeds=[0], missingness={})()) == 2
    assert again.started[0]["resume"]


def test_a_run_that_fails_costs_its_cells_and_is_tried_again(tmp_path, monkeypatch):
    def stop(number):
        if number == 2:
            raise RunNotCompletedError("no memory")

    done = tiny_study(tmp_path, FakeRuns(stop_at=stop), monkeypatch)
    assert len(done()) == 10 and list(done.failed.values()) == ["no memory"]
    assert len(tiny_study(tmp_path, again := FakeRuns(), monkeypatch)()) == 12 and len(again.started) == 1


def test_progress_counts_cells(tmp_path, monkeypatch):
    done = tiny_study(tmp_path, FakeRuns(), monkeypatch)
    done()
    told = [line for line in done.said if line.startswith("cells")]
    assert [line.split(",")[0] for line in told] == [
        f"cells {2 * i + 1} to {2 * i + 2} of 12" for i in range(6)
    ]
    assert "time left is not known yet" in told[0] and "left" in told[1]


def test_a_plan_starts_nothing(tmp_path, monkeypatch):
    done = tiny_study(tmp_path, run := FakeRuns(), monkeypatch, learning_rates=[0.1, 0.2])
    plan = list(done.plan())
    assert len(plan) == 2 * (3 + 1) and not any(there for _, there, _ in plan)
    assert not run.started and not list(tmp_path.iterdir())
    done()
    assert all(there for _, there, _ in done.plan()) and len(run.started) == 8
    assert done.estimate(10)[0] == pytest.approx(10 * (20 + 10 + 2 * 3))
    assert done.estimate(10, 5)[0] == pytest.approx(done.estimate(10)[0] + 5 * 20), "those only scored"


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
    done = tiny_study(
        tmp_path, run, monkeypatch, learning_rates=[0.01, 0.02, 0.05], test_missingness=["", "gaps=0.5"]
    )
    rows = done()
    assert {(row["method"], row["learning-rate"]) for row in rows} == {("mask", 0.02), ("condi", 0.05)}
    assert len(rows) == 2 * 3 * 2 * 2
    # Per scenario three trials, which serve the first seed, then the other seeds; other test holes need none,
    # and train nothing: what the first seed scores lies in the runs of two rates.
    assert len(run.started) == 2 * (3 + 2 + 2 + 2)
    assert [bool(s["resume"]) for s in run.started] == [bool(s["test-missingness"]) for s in run.started]
    assert all(row["validation"] == 0 for row in rows)
    trials = done.trials()
    assert len(trials) == 2 * 2 * 3 and sum(row["chosen"] for row in trials) == 4
    assert {row["learning-rate"] for row in trials if row["chosen"]} == {0.02, 0.05}


def test_without_validation_windows_it_is_the_first_rate():
    assert best_rate({0.3: math.nan, 0.1: math.nan}) == 0.3
    assert best_rate({0.3: math.nan, 0.1: 2.0}) == 0.1
    assert best_rate({0.3: 1.0, 0.1: 1.0}) == 0.3


def test_local_epochs_become_steps_of_the_mean_site(tmp_path, monkeypatch):
    run = FakeRuns()
    batches = {"task": {"batch": 4}, "imputer": {"batch": 8}}
    tiny_study(tmp_path, run, monkeypatch, local_epochs=3, settings=batches)()
    # Eight training windows a site: three epochs are 24 windows.
    assert {(s["task.steps"], s["imputer.steps"]) for s in run.started} == {(6, 3)}


def test_a_row_has_every_factor_metric_and_cost(tmp_path, monkeypatch):
    missingness = {"points": 0.5, "modality-by-window": 0.5, "subsample-to": 2.5}
    rows = tiny_study(
        tmp_path, FakeRuns(), monkeypatch, missingness=missingness, test_missingness=["points=0.0"]
    )()
    mask, condi = rows[0], rows[1]
    assert mask["auroc"] == plain_auroc(0, "mask") and condi["auroc"] == plain_auroc(0, "condi")
    assert mask["missing"] == pytest.approx(1 - 0.5 * 0.5 * 0.5)  # 2.5 of 5 samples a patch
    assert mask["missing-in-test"] == pytest.approx(1 - 0.5 * 0.5)
    assert mask["seconds"] == 3 and condi["seconds"] == 13, "phase 1 is of those who use it"
    assert mask["bytes-down"] == 300 and condi["bytes-up"] == 13 * 50
    assert mask["parameters"] == 7 + 4 and condi["parameters"] == 7 + 4 + 30
    assert condi["imputation: gaps 50 %: linear: rmse"] == 0.4
    assert mask["local-steps"] == condi["local-steps"] == 5 * 20
    assert (tmp_path / "runs" / mask["run"]).is_dir() and mask["run"] == condi["run"]
    assert sum(key.startswith("missingness.") for key in mask) == 11
    assert mask["test-missingness"] == "points=0.0" and mask["validation"] == 0.5


def plain_auroc(seed, method):
    class Config:
        missingness = {"points": 0.5}

    Config.seed = seed
    return plain(Config, method)[1]


def test_cells_come_back_from_csv(tmp_path, monkeypatch):
    rows = tiny_study(tmp_path, FakeRuns(), monkeypatch, data={"2012": {"dataset": "demo"}})()
    rows[0]["f1"] = None
    write_csv(rows, tmp_path / "cells.csv")
    columns = dict.fromkeys(key for row in rows for key in row)
    assert read_csv(tmp_path / "cells.csv") == [{c: row.get(c) for c in columns} for row in rows]
    write_csv([{"data": 'a,"b"\nc', "auroc": math.nan, "seed": 3}], tmp_path / "odd.csv")
    (odd,) = read_csv(tmp_path / "odd.csv")
    assert odd["data"] == 'a,"b"\nc' and math.isnan(odd["auroc"]) and odd["seed"] == 3
    assert not list(tmp_path.glob(".*.csv*"))


def test_a_damaged_result_is_run_again(tmp_path, monkeypatch):
    tiny_study(tmp_path, FakeRuns(), monkeypatch)()
    results = sorted(tmp_path.glob("runs/*/result.json"))
    results[0].write_text("{half")
    run = FakeRuns()
    assert len(tiny_study(tmp_path, run, monkeypatch)()) == 12 and len(run.started) == 1
    assert json.loads(results[0].read_text())["task"]


def test_a_cell_says_by_which_code_it_was_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.helpers.fake_runs.fingerprint", lambda: "before")
    tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0])()
    monkeypatch.setattr("tests.helpers.fake_runs.fingerprint", lambda: "after")
    rows = tiny_study(tmp_path, FakeRuns(), monkeypatch, seeds=[0, 1])()
    assert {(row["seed"], row["code"]) for row in rows} == {(0, "before"), (1, "after")}
