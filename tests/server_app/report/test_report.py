"""The report of a run: it has all numbers of the run, loads nothing, and no input breaks it."""

import base64
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from condi_core.completed_window import CompletedWindow, complete_rows
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, missingness_label
from condi_core.evaluation.imputers import IMPUTER_ROWS
from condi_core.run_files import read_config, read_history
from condi_core.task.kind import SINGLE_LABEL
from condi_core.weights_file import load_imputer
from data_partitions.federation import open_federation
from server_app.artifacts.run_record import ReportError, read_run
from server_app.cli import app
from server_app.report import markup, on_completion
from server_app.report.completed_windows import complete_windows, sites_with_data
from server_app.report.page import run_page, write_report
from server_app.report.windows import MAX_MODALITIES, _figure, windows
from tests.helpers.finished_runs import HOSTILE, Page, write_hostile


@pytest.fixture(scope="module")
def page(made):
    return Page((made[1] / "report.html").read_text())


def called(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


def test_tables_of_rounds_have_every_number_of_the_history(made, page):
    lines = read_history(made[1])
    for phase in ("relation", "imputer", "task-condi", "task-mask"):
        rounds = [line for line in lines if line["phase"] == phase]
        values = page.values(f"{phase}, every round")
        site_seconds = page.values(f"{phase}, training time of each site")
        assert len(values) == len(site_seconds) == len(rounds)
        for line, row, seconds in zip(rounds, values, site_seconds, strict=True):
            numbers = {k: v for k, v in line.items() if isinstance(v, int | float) and "round" not in k}
            numbers |= {f"validation {key}": v for key, v in line["metrics"].items()}
            if phase == "relation":
                del numbers["loss"]  # it has none
            if phase == "imputer":
                assert numbers.pop("validation score") == line["metrics"]["rmse"]
            assert sorted(row) == sorted(numbers.values())
            assert seconds == list(line["site-seconds"].values())


def test_every_figure_has_content(page):
    expected = {f"{p}: training loss" for p in ("imputer", "task-condi", "task-mask")}
    expected |= {f"{p}: validation" for p in ("imputer", "task-condi", "task-mask")}
    expected |= {"Imputation RMSE on hidden samples of test windows", "Confusion matrix"}
    expected |= {"ROC curve: fast", "Precision-recall curve: fast", "Reliability diagram: fast"}
    expected |= {"AUROC on the test windows of each site"}
    expected |= {"Duration of each round", "Data exchanged with all sites in each round"}
    assert expected <= page.figures.keys()
    assert all(count > 3 for count in page.figures.values()), page.figures


def test_test_scores_are_those_of_the_result(made, page):
    result = json.loads((made[1] / "result.json").read_text())
    for kind, rows in result["imputation"].items():
        for row, key in (("RMSE", "rmse"), ("MAE", "mae"), ("CRPS", "crps")):
            assert page.column(f"Test windows, {missingness_label(kind)}", row) == [
                rows[m][key] for m in IMPUTER_ROWS if m in rows
            ]
    for name, key in (("AUROC", "auroc"), ("kappa", "kappa"), ("mean loss", "score")):
        column = page.column("Classification of test windows", name)
        assert column == [result["task"][m][key] for m in ("condi", "mask")]


def test_scores_of_a_site_are_those_of_its_sums(made, page):
    sums = load_file(made[1] / "test-task-mask.safetensors")
    expected = [SINGLE_LABEL.metrics({"task": sums[f"{site}/task"]})["accuracy"] for site in sorted(HOSTILE)]
    caption = "Classification of the test windows of each site"
    assert page.column(caption, "accuracy, mask") == pytest.approx(expected)
    assert page.column(caption, "windows") == [5, 5, 5]
    confusion = sum(sums[f"{site}/confusion"] for site in HOSTILE)
    labels = page.values("Results of each label")  # of two exclusive labels only the event
    assert [row[:4] for row in labels] == [confusion.ravel()[[3, 1, 2, 0]].tolist()]


def test_names_of_sites_are_escaped(made, page):
    names = [row[0][0] for row in page.tables["Sites with their windows and labels"][1:]]
    assert names == sorted(HOSTILE)
    assert len(page.scripts) == 1 and "alert" not in page.scripts[0]
    assert not page.tags & {"b", "img", "iframe", "link"} and "<i>by" not in page.text
    assert "<script>alert" not in page.text


def test_the_page_loads_nothing_and_runs_one_script(page):
    assert page.links and all(link.startswith("#") for link in page.links)
    assert "http:" not in page.text and "https:" not in page.text and "url(" not in page.text
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page.text


def test_windows_are_drawn_on_machines_with_the_data(made, run, tmp_path):
    federation, _ = made
    simulation = Page(write_report(run).read_text())
    names = [name for name in simulation.figures if "RMSE" in name and ("worst" in name or "typical" in name)]
    assert len(names) == 12 and sum("(worst of" in name for name in names) == 3
    assert "protect this page as you protect the data" in simulation.text
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"federation": str(tmp_path / "gone")}))
    elsewhere = write_report(run).read_text()
    assert "The records stay at their sites" in elsewhere and "typical of" not in elsewhere
    of_site = Page(write_report(run, data=[federation / "south"]).read_text())
    names = [name for name in of_site.figures if "worst of" in name or "typical of" in name]
    assert names and all(name.startswith("south, ") for name in names)


def test_synthetic_windows_carry_no_warning(made, monkeypatch):
    monkeypatch.setattr("server_app.artifacts.run_record.DATASET", read_run(made[1]).schema.dataset)
    _, section = windows(read_run(made[1]), [])
    assert "typical of" in section and "patients" not in section


def test_the_worst_window_comes_first_and_its_error_is_of_hidden_samples(made):
    record = read_run(made[1])
    imputer, schema = load_imputer(made[1] / "imputer.safetensors")
    sites = sites_with_data(record, [])
    completed_windows = complete_windows(record, imputer, schema, sites, None, lambda completed, total: None)
    assert list(completed_windows) == list(EVALUATED_MISSINGNESS) and all(
        len(scored) == 15 for scored in completed_windows.values()
    )
    sums = load_file(made[1] / "test-imputer.safetensors")
    for kind, scored in completed_windows.items():
        # Exactly the samples that the evaluation hides are hidden.
        counts = sum(sums[f"{site}/{kind}/mean"][:, 0] for site in HOSTILE)
        assert sum(w.target.sum((1, 2)) for w in scored).tolist() == counts.tolist()
        for w in scored:
            assert not (w.target & w.conditioning).any() and (w.squared_error[~w.target] == 0).all()
            point = (w.quantiles[0] - w.values)[w.target]
            deviation = imputer.standardiser.std.numpy()[w.target.nonzero()[0]]
            assert w.rmse == pytest.approx(np.sqrt(np.mean((point / deviation) ** 2)), rel=1e-4)
    anchor, section = windows(record, [])
    worst = max(completed_windows["gaps 50 %"], key=lambda w: w.rmse)
    first = [name for name in Page(section).figures if "(worst of 15)" in name]
    assert any(worst.record in name for name in first)


def test_a_window_without_errors_shows_the_modalities_with_hidden_samples(made):
    _, schema = load_imputer(made[1] / "imputer.safetensors")
    zeros, target = np.zeros(schema.shape), np.zeros(schema.shape, bool)
    target[-1, 0, 0] = True
    window = CompletedWindow("s", "r", zeros, ~target, target, np.zeros((3, *schema.shape)), zeros, 0.0)
    figure = _figure(window, 0, 1, schema)
    assert len(schema.names) > MAX_MODALITIES and f">{schema.names[-1]} (" in figure
    assert not any(f">{name} (" in figure for name in schema.names[:-1])


def test_hidden_samples_do_not_change_a_completion(made, tmp_path):
    """A completion does not depend on the values that are hidden from the model."""
    federation = shutil.copytree(made[0], tmp_path / "federation")
    imputer, schema = load_imputer(made[1] / "imputer.safetensors")

    def complete():
        site = open_federation(federation).open_site("south")
        config = read_config(made[1])
        return complete_rows(config, imputer, schema, site, site.rows("test"), "gaps 50 %")

    before = complete()
    for i, m in enumerate(schema.names[:3]):  # south is without the last
        file = federation / "south" / "values" / f"{m}.npy"
        values = np.load(file)
        rows = np.flatnonzero(open_federation(federation).open_site("south").splits == "test")
        for row, window in zip(rows, before, strict=True):
            values[row] = np.where(window.target[i], 1e3, values[row])
        np.save(file, values)
    for first, second in zip(before, complete(), strict=True):
        assert (first.conditioning == second.conditioning).all() and np.array_equal(
            first.quantiles, second.quantiles
        )
        assert second.rmse > first.rmse


def test_a_partition_that_did_not_take_part_is_refused(made, run, tmp_path):
    other = write_hostile(tmp_path / "other", task="multi-label") / "south"
    done = called("report", run, "--data", other)
    assert done.exit_code == 1 and "did not take part in this run" in done.output
    done = called("report", run, "--data", tmp_path)
    assert done.exit_code == 1 and "manifest.json" in done.output


def test_an_unfinished_run_has_a_report(run):
    files = ("config.json", "roster.json", "history.jsonl")
    for file in [f for f in run.iterdir() if f.is_file() and f.name not in files]:
        file.unlink()
    lines = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text("".join(lines[:2]))
    done = called("report", run)
    assert done.exit_code == 0 and done.output.strip().endswith("report.html")
    page = Page((run / "report.html").read_text())
    assert "The run is not finished: its last round was imputer, round 1" in page.text
    assert len(page.values("relation, every round")) == len(page.values("imputer, every round")) == 1
    (run / "history.jsonl").unlink()
    (run / "roster.json").unlink()
    assert called("report", run).exit_code == 0
    assert "No round is complete." in (run / "report.html").read_text()


def test_scored_phases_are_reported_before_the_run_ends(run):
    expected = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    record = read_run(run)
    assert record.imputation["gaps 50 %"]["condi"]["rmse"] == pytest.approx(
        expected["imputation"]["gaps 50 %"]["condi"]["rmse"], rel=1e-9
    )
    assert record.task["mask"]["auroc"] == expected["task"]["mask"]["auroc"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{half"),
        ("config.json", '{"model": "of somebody else"}'),
        ("config.json", "[]"),
        ("history.jsonl", '{"phase": "imputer"}\n'),
        ("history.jsonl", "not json\n"),
        ("roster.json", '{"south": 3}'),
        ("result.json", '{"task": []}'),
        ("result.json", '{"imputation": {"gaps 50 %": {"condi": {}}}, "task": {}}'),
        ("result.json", '{"imputation": {}, "task": {"condi": {"auroc": null}}}'),
        ("versions.json", '{"condi": 1}'),
        ("imputer.safetensors", "x" * 99),
        ("test-task-condi.safetensors", "x" * 99),
    ],
)
def test_a_damaged_run_is_reported_in_one_sentence(run, file, content):
    (run / file).write_text(content)
    done = called("report", run)
    message = done.stderr.strip()
    assert done.exit_code == 1 and message.startswith("Error: ") and "\n" not in message and file in message
    assert "Traceback" not in done.output


def test_a_folder_without_a_run_is_reported_in_one_sentence(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        done = called("report", path)
        assert done.exit_code == 1 and len(done.stderr.strip().splitlines()) == 1


def test_a_path_that_cannot_be_written_is_reported(run, tmp_path):
    done = called("report", run, "--out", tmp_path / "no" / "where.html")
    assert done.exit_code == 1 and "cannot write" in done.stderr and "--out" in done.stderr


def test_a_run_does_not_fail_because_of_its_report(run, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("of no importance")

    monkeypatch.setattr(on_completion, "write_report", broken)
    (run / "model-card.md").unlink()
    lines = on_completion.write_closing_documents(run)
    assert "note: report.html was not written (ZeroDivisionError: of no importance)" in lines
    assert (run / "model-card.md").exists() and f"Model card: {run / 'model-card.md'}" in lines


def test_windows_are_omitted_when_they_take_too_long(made):
    record = read_run(made[1])
    assert "drawn on request only" in windows(record, [], limit=0.0)[1]
    _, section = windows(record, [], limit=1e-9)
    assert "This would take more than 1e-09 s here" in section
    assert "No windows are drawn" in run_page(record, ("windows", section))


def test_a_run_with_settings_of_another_version_says_why_it_has_no_windows(made):
    record = read_run(made[1])
    older = replace(record, config={k: v for k, v in record.config.items() if k != "method-options"})
    _, section = windows(older, [])
    assert "The settings of the run are not those of this version" in section
    assert "method-options" in section and "has no diffusion imputer" not in section


def test_a_missing_run_raises_a_report_error(tmp_path):
    with pytest.raises(ReportError, match="there is no run at"):
        write_report(tmp_path / "nothing")


@pytest.mark.parametrize(("max_open_rows", "is_folded"), [(3, False), (2, True)])
def test_long_tables_are_folded(run, monkeypatch, max_open_rows, is_folded):
    monkeypatch.setattr(markup, "MAX_OPEN_ROWS", max_open_rows)
    html = write_report(run, limit=0.0).read_text()
    assert ("<summary>Sites with their windows and labels (3 rows)</summary>" in html) == is_folded
    assert len(Page(html).tables["Sites with their windows and labels"]) == 4
