"""The comparison of runs, and the events for TensorBoard."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_record import read_run
from server_app.artifacts.tensorboard import TensorBoardWriter
from server_app.cli import app
from server_app.errors import RunError
from server_app.report import compared_runs
from tests.helpers.finished_runs import Page, run_in, write_hostile


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small_settings):
    """Three runs: one, one with other settings, and the first again, interrupted and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    federation = write_hostile(folder / "federation", license="CC <b>0</b>", label_rule="by | frequency")
    first = run_in(folder, federation, small_settings({"name": "one"}))
    other = {"name": "more", "imputer.rounds": 1, "imputer.width": 4, "seed": 3, "method": "mask"}
    second = run_in(folder, federation, small_settings(other))

    def silent(request, reply):
        settings = request.content["config"]
        stopped = request.metadata.message_type == "train.imputer" and settings["server-round"] == 2
        return None if stopped else reply

    with pytest.raises(RunError):
        run_in(folder, federation, small_settings({"name": "resumed"}), silent)
    shutil.copy(folder / "runs" / "resumed" / "report.html", folder / "stopped.html")
    third = run_in(folder, federation, small_settings({"resume": str(folder / "runs" / "resumed")}))
    return first, second, third


def called(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture(scope="module")
def replicates(runs, tmp_path_factory):
    """Return five runs of two settings: seeds 0, 1 and 2 of the first, and 0 and 1 of the second."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = []
    for name, seed, auroc in (("a", 0, 0.70), ("a", 1, 0.72), ("a", 2, 0.74), ("b", 0, 0.80), ("b", 1, 0.83)):
        path = shutil.copytree(runs[0], folder / f"{name}-seed{seed}")
        for file in path.glob("replicates-*"):  # which are not of the scores that are written here
            file.unlink()
        config = json.loads((path / "config.json").read_text())
        config |= {"seed": seed, "task.steps": 7 if name == "b" else 2}
        (path / "config.json").write_text(json.dumps(config))
        result = json.loads((path / "result.json").read_text())
        result["task"]["condi"]["auroc"] = auroc
        (path / "result.json").write_text(json.dumps(result))
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("setting", "differs"), [("quorum", True), ("min-sites", True), ("round-timeout", False)]
)
def test_settings_that_change_no_result_are_not_compared(runs, setting, differs):
    record = read_run(runs[0])
    other = replace(record, config=record.config | {setting: "changed"})
    assert (compared_runs.settings_of(other) != compared_runs.settings_of(record)) == differs


def test_differing_settings_and_the_scores_of_all_runs_are_compared(runs):
    content = json.loads(called("compare", runs[0], runs[1], "--json").stdout)["runs"]
    first, second = content["one"], content["more"]
    assert second["settings"] == {"imputer.rounds": 1, "imputer.width": 4, "seed": 3, "method": "mask"}
    assert first["settings"] == {"imputer.rounds": 2, "imputer.width": 8, "seed": 0, "method": "condi"}
    result = json.loads((runs[0] / "result.json").read_text())
    gaps = result["imputation"]["gaps 50 %"]["linear"]["rmse"]
    assert first["results"]["RMSE 50 % in gaps, linear interpolation"] == gaps
    assert first["results"]["AUROC, condi"] == result["task"]["condi"]["auroc"]
    assert "AUROC, condi" not in second["results"] and second["results"]["AUROC, mask"] > 0
    lines = [json.loads(line) for line in (runs[0] / "history.jsonl").read_text().splitlines()]
    assert first["cost"]["bytes from sites"] == sum(line["bytes-up"] for line in lines)
    assert first["cost"]["seconds"] == sum(line["seconds"] for line in lines)
    weights = load_file(runs[0] / "imputer.safetensors")
    assert first["cost"]["parameters, imputer"] == sum(a.size for a in weights.values())
    assert "parameters, imputer" not in second["cost"]


def test_runs_that_differ_only_in_their_seed_are_one_group(replicates):
    content = json.loads(called("compare", *replicates, "--json").stdout)
    assert {name: group["seeds"] for name, group in content["groups"].items()} == {
        "a (3 seeds)": [0, 1, 2],
        "b (2 seeds)": [0, 1],
    }
    first, second = (group["results"]["AUROC, condi"] for group in content["groups"].values())
    assert (first["mean"], first["sd"]) == (pytest.approx(0.72), pytest.approx(0.02))
    assert second["difference"] == pytest.approx(0.105) and "difference" not in first, "of equal seeds"
    # Student's interval of the two differences 0.10 and 0.11, with one degree of freedom.
    assert second["interval of the difference"] == pytest.approx(
        [0.105 - 12.706 * 0.005, 0.105 + 12.706 * 0.005], rel=1e-3
    )
    assert [group["rank"] for group in content["groups"].values()] == [2, 1]


def test_the_tables_have_deviations_differences_and_ranks(replicates, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    output = called("compare", *replicates).output
    assert "seed        0, 1, 2      0, 1" in output and "task.steps  2            7" in output
    assert "0.720 ± 0.020" in output and "0.815 ± 0.021 *" in output
    ranking = output.partition("Ranking")[2].splitlines()
    rows = [line.split()[0] for line in ranking if "seeds)" in line and "condi" in line]
    assert rows[:2] == ["b", "a"], "the best comes first"
    assert "+0.105 (+0.041 to +0.169)" in output


def test_intervals_over_patients_are_those_of_the_runs(runs, monkeypatch):
    """Each replicate of the second run is 0.1 higher than that of the first: the patients are the same."""
    values = {"one": np.linspace(0.6, 0.8, 401), "resumed": np.linspace(0.7, 0.9, 401)}

    def estimates(record, method):
        return {"auroc": Estimate(0.0, values[record.name])} if method == "condi" else {}

    monkeypatch.setattr(compared_runs, "task_estimates", estimates)
    content = json.loads(called("compare", runs[0], runs[2], "--json").stdout)["groups"]
    first, second = (group["results"]["AUROC, condi"] for group in content.values())
    assert first["interval over patients"] == pytest.approx([0.605, 0.795])
    assert second["interval of the difference"] == pytest.approx([0.1, 0.1])
    assert "(0.605 to 0.795)" in called("compare", runs[0], runs[2]).output


def test_equal_settings_with_equal_seeds_are_not_seeds_of_a_group(runs):
    content = json.loads(called("compare", runs[0], runs[2], "--json").stdout)
    assert list(content["groups"]) == ["one", "resumed"]
    assert [group["rank"] for group in content["groups"].values()] == [1, 1]


def test_tables_fit_a_terminal_of_80_columns(runs, replicates, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = called("compare", *runs)
    assert done.exit_code == 0 and max(map(len, done.output.splitlines())) <= 80
    result = json.loads((runs[0] / "result.json").read_text())
    rmse = f"{result['imputation']['points 50 %']['condi']['rmse']:.3f}"
    assert done.output.count(rmse) >= 2  # a resumed run ends with the same weights
    many = called("compare", *runs, *replicates, *[runs[0]] * 8).output
    assert max(map(len, many.splitlines())) <= 80 and many.count("Results on test windows") > 1


def test_the_page_of_a_comparison_has_its_numbers_and_figures(runs, tmp_path):
    out = tmp_path / "compare.html"
    done = called("compare", *runs, "--json", "--out", out)
    content, page = json.loads(done.stdout)["runs"], Page(out.read_text())
    rows = page.tables["Results on test windows"][1:]
    values = page.values("Results on test windows")
    for (label, _), numbers in zip([row[0] for row in rows], values, strict=True):
        assert numbers == [content[name]["results"].get(label) for name in ("one", "more", "resumed")]
    expected = {"Imputation RMSE on test windows", "AUROC on test windows, by method"}
    expected |= {"imputer: validation RMSE", "task-condi: validation loss"}
    assert expected <= page.figures.keys() and all(page.figures[name] > 3 for name in expected)
    assert not page.tags & {"b", "img"} and len(page.scripts) == 1


def test_an_interrupted_run_writes_a_report_and_another_when_it_has_finished(runs):
    stopped = (runs[2].parent.parent / "stopped.html").read_text()
    assert "The run is not finished: its last round was imputer, round 1" in stopped
    assert "is not finished" not in (runs[2] / "report.html").read_text()


def test_runs_that_cannot_be_compared_are_reported(runs, tmp_path):
    for args in ((runs[0],), (runs[0], tmp_path)):
        done = called("compare", *args)
        assert done.exit_code == 1 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("damaged", ["imputer.safetensors", "config.json", "history.jsonl"])
def test_a_run_that_cannot_be_read_does_not_stop_the_comparison_of_the_others(runs, tmp_path, damaged):
    bad, out = shutil.copytree(runs[0], tmp_path / "bad"), tmp_path / "compare.html"
    (bad / damaged).write_text("{")
    done = called("compare", bad, runs[0], runs[1], "--json", "--out", out)
    content = json.loads(done.stdout)
    assert done.exit_code == 1 and done.stderr.count("Left out: ") == 1
    assert list(content["runs"]) == ["one", "more"] and list(content["unreadable"]) == [str(bad)]
    assert "Left out: " in out.read_text()


def test_runs_of_the_same_name_are_distinguished(runs, tmp_path):
    again = shutil.copytree(runs[0], tmp_path / "elsewhere" / "one")
    content = json.loads(called("compare", runs[0], again, "--json").stdout)
    assert list(content["runs"]) == ["runs/one", "elsewhere/one"]


def scalars(run):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    # Files of one second are read in the order of their names, which is not that of their writing.
    return {tag: sorted((e.step, e.value) for e in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


def rounds(run):
    return {tag: points for tag, points in scalars(run).items() if not tag.startswith(("test/", "compared/"))}


def hparams_rows(runs):
    """Return the rows of the tab HPARAMS, `{run: (settings, metrics)}`, as TensorBoard's plugin does."""
    backend = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_multiplexer")
    data_provider = pytest.importorskip("tensorboard.backend.event_processing.data_provider")
    plugins = pytest.importorskip("tensorboard.plugins.base_plugin")
    from tensorboard.context import RequestContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    multiplexer = backend.EventMultiplexer(tensor_size_guidance={"hparams": 0})
    multiplexer.AddRunsFromDirectory(str(runs)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(runs))
    context = backend_context.Context(plugins.TBContext(data_provider=provider, logdir=str(runs)))
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10, include_metrics=True, allowed_statuses=[api_pb2.STATUS_SUCCESS]
    )
    experiment = context.experiment_from_metadata(
        RequestContext(), "", True, context.hparams_metadata(RequestContext(), ""), []
    )
    request.col_params.extend(api_pb2.ColParams(metric=metric.name) for metric in experiment.metric_infos)
    handler = list_session_groups.Handler(RequestContext(), context, "", request)
    rows = {}
    for group in handler.run().session_groups:
        settings = {name: value.number_value or value.string_value for name, value in group.hparams.items()}
        metrics = {metric.name.tag: metric.value for metric in group.metric_values}
        rows[group.sessions[0].name] = (settings, metrics)
    return rows


def test_settings_and_test_scores_of_completed_runs_are_rows_of_hparams(runs):
    rows = hparams_rows(runs[0].parent)
    assert rows.keys() == {f"{name}/tensorboard" for name in ("one", "more", "resumed")}
    result = json.loads((runs[0] / "result.json").read_text())
    settings, metrics = rows["one/tensorboard"]
    assert settings["imputer.rounds"] == 2 and settings["method"] == "condi"
    assert settings["secure-aggregation"] == "false" and "on-end" not in settings
    assert metrics["test/auroc"] == pytest.approx(result["task"]["condi"]["auroc"])
    gaps = result["imputation"]["gaps 50 %"]
    assert metrics["test/gaps 50 percent/rmse"] == pytest.approx(gaps["condi"]["rmse"])
    assert not any(name.startswith("compared/") for name in metrics)
    ((_, linear),) = scalars(runs[0])["compared/gaps 50 percent/linear/rmse"]
    assert linear == pytest.approx(gaps["linear"]["rmse"])
    assert rows["resumed/tensorboard"][1] == pytest.approx(metrics)
    other = json.loads((runs[1] / "result.json").read_text())["task"]["mask"]["auroc"]
    assert rows["more/tensorboard"][1]["test/auroc"] == pytest.approx(other), "its own method is mask"


@pytest.mark.parametrize("which", [0, 2])
def test_events_have_each_round_of_the_history_once(runs, which):
    """This also holds for a run that was resumed."""
    events = rounds(runs[which])
    lines = [json.loads(line) for line in (runs[which] / "history.jsonl").read_text().splitlines()]
    expected = {}
    for line in lines:
        numbers = {k: v for k, v in line.items() if isinstance(v, int | float) and "round" not in k}
        numbers |= line["metrics"] | {f"site-seconds/{s}": v for s, v in line["site-seconds"].items()}
        for key, value in numbers.items():
            expected.setdefault(f"{line['phase']}/{key}", []).append((line["round"], pytest.approx(value)))
    assert events == expected


def test_lost_events_are_written_again_and_others_are_not(runs, tmp_path):
    pytest.importorskip("tensorboard")
    history = [json.loads(line) for line in (runs[0] / "history.jsonl").read_text().splitlines()]
    first = TensorBoardWriter(tmp_path)
    first.write(history[:2])
    first.close(history[:2], {"seed": 0}, {})
    second = TensorBoardWriter(tmp_path)
    second.write(history[:4])
    second.close(history, {"seed": 0}, {"test/auroc": 0.5})
    assert rounds(tmp_path) == rounds(runs[0]) and scalars(tmp_path)["test/auroc"] == [(0, 0.5)]


def test_without_tensorboard_nothing_is_written_or_printed(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    events = TensorBoardWriter(tmp_path)
    events.close([{"phase": "imputer", "round": 1, "metrics": {}, "site-seconds": {}, "loss": 1.0}], {}, {})
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ""
