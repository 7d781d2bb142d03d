"""The model card of a run."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner

from condi_core.evaluation.classification import auroc, score_histograms
from condi_core.task.kind import SINGLE_LABEL
from server_app.artifacts.estimates import Estimate
from server_app.artifacts.run_record import read_run
from server_app.cli import app
from server_app.report.card import performance
from server_app.report.card.front_matter import front_matter
from server_app.report.model_card import model_card
from server_app.report.small_groups import mark_small
from tests.helpers.finished_runs import HOSTILE


@pytest.fixture(scope="module")
def whole(made):
    """The run of a single-label task at sites whose names are markup; no test changes it."""
    return made[1]


@pytest.fixture(scope="module")
def card(whole):
    return (whole / "model-card.md").read_text()


@pytest.fixture(scope="module")
def result(whole):
    return json.loads((whole / "result.json").read_text())


def test_the_card_has_data_scores_and_their_range_over_sites(whole, card, result):
    sums = load_file(whole / "test-task-condi.safetensors")
    areas = [SINGLE_LABEL.metrics({"task": sums[f"{site}/task"]})["auroc"] for site in HOSTILE]
    assert f"| condi: windows completed by diffusion | {result['task']['condi']['auroc']:.3f} " in card
    assert f"| condi, lowest to highest site | {min(areas):.3f} to {max(areas):.3f} |" in card
    linear = result["imputation"]["gaps 50 %"]["linear"]
    row = next(x for x in card.splitlines() if x.startswith("| 50 % in gaps | linear interpolation | "))
    cells = row.split(" | ")
    assert cells[2].startswith(f"{linear['rmse']:.3f}") and cells[3].startswith(f"{linear['mae']:.3f}")
    assert "| all sites | 24 | 9 | 15 | 24 | 9 | 15 |" in card, "patients and windows of each split"
    for text in (
        "waves, version 1",
        "Limits of use",
        "missingness.points = 0.3",
        "flwr: 1.39",
        "weights of round",
    ):
        assert text in card, text


def test_each_label_has_its_metrics(whole, card):
    sums = load_file(whole / "test-task-condi.safetensors")
    total = sum(sums[f"{site}/task"] for site in HOSTILE)
    for k, label in enumerate(("slow", "fast")):
        positives, negatives = score_histograms(total)[k]
        name = mark_small(label, min(positives.sum(), negatives.sum()))
        row = next(line for line in card.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip() for cell in row.split("|")][2:-1]
        area = auroc(positives, negatives)
        assert cells[:3] == [f"{positives.sum():.0f}", f"{negatives.sum():.0f}", f"{area:.3f}"]
    assert "### Calibration" in card and "### Operating threshold" in card


def test_names_in_the_card_are_escaped(card):
    text = card.partition("\n---\n")[2]
    assert "\\<i\\>by\\</i\\> frequency" in text and "\\<script\\>alert(1)" in text
    rows = [line for line in text.splitlines() if line.startswith("|") and "script" in line]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 9


def test_the_front_matter_is_read_by_the_hugging_face_hub(card, result):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(card).data
    assert data.library_name == "condi" and data.license == "unknown" and data.datasets == ["waves"]
    assert data.model_name == "whole" and "time-series-classification" in data.tags
    values = {(r.task_type, r.dataset_config, r.metric_type): r.metric_value for r in data.eval_results}
    expected = {("time-series-classification", None, "roc_auc"): result["task"]["condi"]["auroc"]}
    for pattern, label in (("points 50 %", "50 % of points"), ("gaps 50 %", "50 % in gaps")):
        rows = result["imputation"][pattern]
        expected[("time-series-imputation", label, "rmse")] = rows["condi"]["rmse"]
        expected[("time-series-imputation", label, "coverage")] = rows["condi, draws"]["coverage"]
    for key, value in expected.items():
        assert values[key] == pytest.approx(value, abs=1e-6), key
    assert all(r.dataset_name == "waves" and r.dataset_split == "test" for r in data.eval_results)


def test_values_that_are_not_numbers_are_not_in_the_front_matter(whole):
    record = read_run(whole)
    record.result.task["condi"] |= {"auroc": float("nan")}
    metrics = yaml.safe_load(front_matter(record).strip("-"))["model-index"][0]["results"][-1]["metrics"]
    assert "roc_auc" not in [m["type"] for m in metrics] and "accuracy" in [m["type"] for m in metrics]


def test_the_lines_that_load_the_model_run(whole, card, monkeypatch):
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    monkeypatch.chdir(whole.parent)
    names = {"values": np.full((2, 4, 12, 5), np.nan, np.float32)}
    exec(code, names)
    assert names["completed"].point.shape == (2, 4, 12, 5) and names["prediction"].values.shape == (2, 2)


def test_contact_and_licence_are_filled_in_by_the_command(whole, card, tmp_path):
    assert card.count("to be filled in by the coordinator") == 2
    out = tmp_path / "card.md"
    options = ["--contact", "A. <Ray>, a@b.org", "--license", "cc-by-4.0", "--out", str(out)]
    done = CliRunner().invoke(app, ["card", str(whole), *options])
    text = out.read_text()
    assert done.stdout.strip() == str(out) and "- Contact: A. \\<Ray\\>, a@b.org" in text
    assert "to be filled in" not in text and text.startswith("---\nlicense: cc-by-4.0\n")


def test_dates_of_training_are_in_the_card(run):
    progress = run / "progress.json"
    content = json.loads(progress.read_text()) | {"started": 1.7e9, "written": 1.7e9 + 3600}
    progress.write_text(json.dumps(content))
    assert "- Trained: 2023-11-14 22:13 to 23:13 UTC" in model_card(read_run(run))


def test_patients_of_a_site_that_withholds_them_are_in_no_total(run):
    roster = json.loads((run / "roster.json").read_text())
    roster[HOSTILE[0]]["patients"]["val"] = None
    (run / "roster.json").write_text(json.dumps(roster))
    assert "| all sites | 24 | – | 15 | 24 | 9 | 15 |" in model_card(read_run(run))


def test_a_run_of_an_older_version_has_a_card_and_a_report(run, tmp_path):
    """It has fewer settings and files."""
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(
        json.dumps({k: v for k, v in settings.items() if k != "quorum"} | {"old": 1})
    )
    for name in ("progress.json", "versions.json", "test-task-condi.safetensors", "model-card.md"):
        (run / name).unlink()
    for command in ("card", "report"):
        assert CliRunner().invoke(app, [command, str(run)]).exit_code == 0
    card = (run / "model-card.md").read_text()
    assert "- Trained: on an unknown date" in card and "## Classification" in card
    assert "### Each label" not in card


@pytest.mark.parametrize("content", ["[1]", "{}", '{"method": 3, "seed": 0}', "{"])
def test_settings_that_are_not_those_of_a_run_are_refused(run, content):
    (run / "config.json").write_text(content)
    done = CliRunner().invoke(app, ["card", str(run)])
    assert done.exit_code == 1 and "config.json is damaged or was written by another version" in done.stderr


def test_a_run_that_ended_before_its_sites_were_known_has_a_card(whole, tmp_path):
    shutil.copy(whole / "config.json", tmp_path)
    card = model_card(read_run(tmp_path))
    assert "No site has taken part yet." in card and "How to load" not in card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "unknown"


def test_intervals_over_patients_are_in_the_tables(whole, monkeypatch):
    estimate = Estimate(0.8, np.linspace(0.7, 0.9, 401))  # the 2.5 % and 97.5 % quantiles are 0.705 and 0.895
    monkeypatch.setattr(performance, "task_estimates", lambda run, method: {"auroc": estimate})
    monkeypatch.setattr(
        performance, "estimates_by_row", lambda run: {"gaps 50 %": {"condi": {"rmse": estimate}}}
    )
    record = read_run(whole)
    auroc_text = f"{record.task['mask']['auroc']:.3f} (0.705 to 0.895)"
    assert auroc_text in "\n".join(performance.task_results(record))
    text = "\n".join(performance.imputation_results(record))
    rmse = record.imputation["gaps 50 %"]["condi"]["rmse"]
    assert f"| 50 % in gaps | CondI, point estimate | {rmse:.3f} (0.705 to 0.895) |" in text
    assert "95 % intervals over test patients" in text
