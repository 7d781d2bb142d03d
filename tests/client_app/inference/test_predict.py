"""`condi predict`: tables of windows and of recordings."""

import json

import numpy as np
import pandas as pd

from client_app.inference.predict import predict_to_csv
from client_app.inference.recording_reader import ReadingOptions
from client_app.inference.site_data import open_site_data
from client_app.inference.site_description import SiteSettings
from condi_core import load_model
from data_partitions.partition import Partition
from tests.helpers.inference_inputs import WINDOWS, partition, record


def test_predictions_have_one_row_per_window_and_name_missing_modalities(tmp_path, condi, run):
    data = partition(tmp_path / "in", ("II",))
    code, output = condi("predict", data, tmp_path / "p.csv", "--samples", "4")
    assert code == 0, output
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert list(table) == [
        "record",
        "window",
        "well",
        "ill",
        "well spread",
        "ill spread",
        "missing modalities",
    ]
    assert list(table["record"]) == [f"r{i}" for i in range(WINDOWS)] and set(
        table["missing modalities"]
    ) == {"II"}
    expected = load_model(run).predict(*Partition.open(data).read(range(WINDOWS)), samples=4)
    np.testing.assert_allclose(table[["well", "ill"]], expected.values, atol=1e-4)
    np.testing.assert_allclose(table[["well spread", "ill spread"]], expected.spread, atol=1e-4)
    code, output = condi("predict", data, tmp_path / "p.csv")
    assert code == 1 and "exists already" in output


def test_files_are_classified_window_by_window(tmp_path, condi):
    record(tmp_path / "in" / "a", "long", seconds=5, leads=("I", "V1"))
    (tmp_path / "in" / "not.edf").write_text("hello")
    code, output = condi("predict", tmp_path / "in", tmp_path / "p.csv", "--method", "mask", "--json")
    assert code == 1
    assert json.loads(output)["windows"] == 3 and "not.edf" in json.loads(output)["skipped"][0]
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert list(table["record"]) == ["a/long"] * 3 and list(table["window"]) == [0, 1, 2]
    assert set(table["missing modalities"]) == {"II"} and set(table["well spread"]) == {""}


def test_predictions_of_a_recording_are_means_over_its_windows(tmp_path, condi, run):
    samples = record(tmp_path / "in", "r", seconds=6)
    code, output = condi("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", "5", "--json")
    summary = json.loads(output)
    assert code == 0 and (summary["windows"], summary["recordings"]) == (3, 1)
    assert summary["out_recordings"] == str(tmp_path / "p-recordings.csv")
    x = np.where(samples == -(2**15), np.nan, samples / 1000).astype(np.float32)
    windows = x.reshape(3, 20, 10, 3).transpose(0, 3, 1, 2)
    expected = load_model(run).predict(windows, samples=5)
    (row,) = pd.read_csv(tmp_path / "p-recordings.csv", keep_default_na=False).to_dict("records")
    assert row["record"] == "r" and row["windows"] == 3 and row["missing modalities"] == ""
    draws = expected.draws.mean(1)
    for number, label in enumerate(("well", "ill")):
        assert abs(row[label] - expected.values[:, number].mean()) < 1e-5
        assert abs(row[f"{label} spread"] - draws[:, number].std(ddof=1)) < 1e-5
    code, output = condi("predict", tmp_path / "in", tmp_path / "p.csv")
    assert code == 1 and "exists already" in output


def test_what_was_predicted_is_said_in_singular_and_plural(tmp_path, condi):
    record(tmp_path / "in", "a")
    code, output = condi("predict", tmp_path / "in", tmp_path / "a.csv", "--samples", "0")
    assert code == 0 and "predicted 1 window of 1 recording, skipped 0 files: " in output
    (tmp_path / "in" / "not.edf").write_text("hello")
    record(tmp_path / "in", "b", seconds=4)
    code, output = condi("predict", tmp_path / "in", tmp_path / "b.csv", "--samples", "0")
    assert code == 1 and "predicted 3 windows of 2 recordings, skipped 1 file: " in output


def test_names_of_files_are_no_formulas_in_the_tables(tmp_path, condi):
    record(tmp_path / "in" / "=1+1", "r")
    assert condi("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", "0")[0] == 0
    for name in ("p.csv", "p-recordings.csv"):
        assert list(pd.read_csv(tmp_path / name)["record"]) == ["'=1+1/r"]


def test_progress_goes_on_within_a_file(tmp_path, run):
    record(tmp_path / "in", "long", seconds=8)
    model, done = load_model(run), []
    with open_site_data(
        run, model, tmp_path / "in", SiteSettings(), ReadingOptions(), lambda *_: None
    ) as reader:
        predict_to_csv(
            model, reader, tmp_path / "in", tmp_path / "p.csv", 0, "", 0, lambda *step: done.append(step)
        )
    assert done == [("files", fraction, 1) for fraction in (0.0, 0.25, 0.5, 0.75)]
