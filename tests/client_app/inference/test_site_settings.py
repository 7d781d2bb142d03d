"""A site's own files are read by the description that a run has, and by what the site states about them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from condi_core.windows import Schema
from data_partitions.partition import Partition
from server_app.cli import app
from tests.helpers.described import write_description
from tests.helpers.generated_run import write_run
from tests.helpers.holter_files import RATE, holter_samples, write_holters
from tests.helpers.wfdb_files import MISSING, write_record


def condi(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with `files`, their description, the partition of these files, and a run on such windows."""
    folder = tmp_path_factory.mktemp("site")
    write_holters(folder / "files")
    description = write_description(folder)
    code, output = condi(
        "prepare", description, "--source", folder / "files", "--site", "north", "--out", folder / "north"
    )
    assert code == 0, output
    fields = Partition.open(folder / "north").manifest.schema_fields()
    settings = {"imputer.samples": 2, "task.covariates": True}
    write_run(folder / "run", Schema.model_validate(fields), **settings)
    return folder


def write_settings(folder, text):
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


def predict(site, data, out, *options):
    code, output = condi("predict", "--model", site / "run", "--data", data, "--out", out, *options)
    assert code == 0, output
    windows = pd.read_csv(out)
    recordings = pd.read_csv(out.with_name(f"{out.stem}-recordings.csv"), index_col="record")
    return output, windows, recordings


def test_files_have_the_predictions_of_the_partition_made_of_them(site, tmp_path):
    options = ("--samples", 3)
    _, windows, recordings = predict(site, site / "north", tmp_path / "a.csv", *options)
    from_files = predict(site, site / "files", tmp_path / "b.csv", "--map", site / "dataset.toml", *options)
    windows["record"] = windows["record"].str[:3]
    assert "r00.hea and 11 more: 5 s at its end are in no window" in from_files[0]
    columns = ["sinus", "afib", "sinus spread", "afib spread"]
    expected = windows.set_index(["record", "window"]).sort_index()[columns]
    result = from_files[1].set_index(["record", "window"]).sort_index()[columns]
    assert len(result) == 36
    pd.testing.assert_frame_equal(result, expected, atol=2e-6)
    pd.testing.assert_frame_equal(from_files[2][columns], recordings.sort_index()[columns], atol=2e-6)
    means = expected.groupby("record")[["sinus", "afib"]].mean()
    pd.testing.assert_frame_equal(recordings.sort_index()[["sinus", "afib"]], means, atol=2e-6)
    assert (recordings["windows"] == 3).all()


def test_windows_of_files_start_where_the_table_says(site, tmp_path):
    shutil.copytree(site / "files", tmp_path / "files")
    table = pd.read_csv(tmp_path / "files" / "labels.csv")
    table["begin"] = [5 + k % 3 for k in range(len(table))]
    table.to_csv(tmp_path / "files" / "labels.csv", index=False)
    description = write_description(
        tmp_path, ("[window]", '[window]\nstart = "begin"'), ('patient"\n', 'patient"\ntime-unit = "s"\n')
    )
    options = ("--source", tmp_path / "files", "--site", "north", "--out", tmp_path / "north")
    assert condi("prepare", description, *options)[0] == 0
    expected = predict(site, tmp_path / "north", tmp_path / "a.csv", "--samples", 0)[2]
    options = ("--map", description, "--samples", 0)
    output, _, result = predict(site, tmp_path / "files", tmp_path / "b.csv", *options)
    columns = ["windows", "sinus", "afib"]
    pd.testing.assert_frame_equal(result[columns], expected.sort_index()[columns], atol=2e-6)
    assert "labels.csv" not in output
    table[1:].to_csv(tmp_path / "files" / "labels.csv", index=False)
    output = predict(site, tmp_path / "files", tmp_path / "c.csv", *options)[0]
    assert "r00.hea: labels.csv has no row of it: its windows are counted from its first sample" in output
    (tmp_path / "files" / "labels.csv").unlink()
    output = predict(site, tmp_path / "files", tmp_path / "d.csv", *options)[0]
    assert "r00.hea and 11 more: labels.csv, the table of the description, is not in" in output


def test_an_evaluation_of_files_is_that_of_the_partition_made_of_them(site):
    options = ("--model", site / "run", "--bootstrap", 0, "--json")
    code, expected = condi("evaluate", *options, "--data", site / "north")
    assert code == 0, expected
    code, output = condi("evaluate", *options, "--data", site / "files", "--map", site / "dataset.toml")
    result, expected = json.loads(output), json.loads(expected)
    assert result.pop("site") == "site" and expected.pop("site") == "north"
    assert code == 0 and result["task"] == expected["task"] and result["windows"] == 6
    assert "60 s at the end of recordings are left out, as windows are complete." in result["notes"]
    for pattern, methods in expected["imputation"].items():
        assert set(methods) == set(result["imputation"][pattern]) and len(methods) > 3
        for method in set(methods) - {"condi, draws"}:  # draws have other seeds at another site
            assert result["imputation"][pattern][method]["rmse"] == pytest.approx(methods[method]["rmse"])
    code, output = condi("evaluate", *options, "--data", site / "files")
    assert code == 1 and "is not a partition: prepare one, or give --map" in output


def test_completed_files_are_read_with_the_description_of_the_originals(site, tmp_path):
    folders = {"in": tmp_path / "in", "completed": tmp_path / "completed"}
    folders["in"].mkdir()
    for name in ("r00", "r01", "r02", "labels"):
        for file in (site / "files").glob(f"{name}.*"):
            shutil.copy(file, folders["in"])
    options = ("--out", folders["completed"], "--samples", 1, "--map", site / "dataset.toml")
    code, output = condi("impute", "--model", site / "run", "--data", folders["in"], *options)
    assert code == 0, output
    for folder in (folders["completed"], folders["completed"] / "quantiles" / "q05"):
        assert (folder / "labels.csv").resolve() == folders["in"] / "labels.csv"
    code, output = condi("dataset", "check", site / "dataset.toml", "--source", folders["completed"])
    assert code == 0, output
    partitions = []
    for name, folder in folders.items():
        options = ("--source", folder, "--site", "north", "--out", tmp_path / f"of {name}")
        code, output = condi("prepare", site / "dataset.toml", *options)
        assert code == 0, output
        partitions.append(Partition.open(tmp_path / f"of {name}"))
    assert len(partitions[0]) == 9
    assert partitions[0].record_ids.tolist() == partitions[1].record_ids.tolist()
    np.testing.assert_array_equal(*(partition.labels for partition in partitions))


def test_a_site_states_its_names_its_units_and_nothing_that_is_agreed(site, tmp_path):
    lead = holter_samples(1, 10)
    for number, names in enumerate((("ch1", "x9"), ("ECG 1", "ECG 2"))):
        write_record(tmp_path / "in", f"s{number}", np.stack([lead, -lead], 1), names=names, rate=RATE)
    plain = tmp_path / "plain.csv"
    write_record(tmp_path / "plain", "r", np.stack([lead, -lead], 1), names=("CC5", "CM5"), rate=RATE)
    expected = predict(site, tmp_path / "plain", plain, "--samples", 0)[1]
    options = ("--model", site / "run", "--data", tmp_path / "in", "--out", tmp_path / "p.csv")
    code, output = condi("predict", *options)
    assert code == 1 and output.count("has no channel that the model knows") == 2
    local = write_settings(
        tmp_path, '[signals.CC5]\nchannels = ["ch1", "ECG 1"]\n[signals.CM5]\nchannels = ["x9", "ECG 2"]\n'
    )
    result = predict(site, tmp_path / "in", tmp_path / "p.csv", "--local", local, "--samples", 0)[1]
    np.testing.assert_allclose(result["sinus"], np.repeat(expected["sinus"], 2), atol=2e-6)
    for text, sentence in [
        ("[signals.CC5]\nrange = [0, 1]\n", "line 2: `signals.CC5.range` is agreed between the hospitals"),
        ("[signals.CC6]\nchannels = 'x'\n", 'there is no signal "CC6"'),
        ("[signals.CC5\n", "line 1"),
    ]:
        local = write_settings(tmp_path, text)
        out = ("--out", tmp_path / "q.csv", "--local", local)
        code, output = condi("predict", *options[:4], *out)
        assert code == 1 and sentence in output, output
    code, output = condi(
        "predict", "--model", site / "run", "--data", site / "north", "--out", tmp_path / "q.csv",
        "--local", write_settings(tmp_path, ""),
    )  # fmt: skip
    assert code == 1 and "is a partition" in output


def test_a_map_that_is_not_that_of_the_run_is_refused_with_the_setting_that_differs(site, tmp_path):
    other = write_description(tmp_path, ("range = [-10, 10]", "range = [-5, 5]"))
    options = ("--data", site / "files", "--out", tmp_path / "p.csv", "--map", other)
    code, output = condi("predict", "--model", site / "run", *options)
    assert code == 1 and "`signals.CC5.range`: [-5, 5], expected [-10, 10]" in output


def test_units_and_rates_are_brought_to_those_of_the_run_and_it_is_said(site, tmp_path):
    time = np.arange(500 * 20) / 500
    leads = np.stack([np.sin(2 * np.pi * time), np.cos(2 * np.pi * time)], 1)
    digital = np.round(1000 * leads).astype(int)
    digital[2000:2200, 0] = MISSING
    write_record(tmp_path / "in", "r", digital, names=("CC5", "CM5"), rate=500, gain="1(0)/uV")
    code, output = condi(
        "impute", "--model", site / "run", "--data", tmp_path / "in", "--out", tmp_path / "out"
    )
    assert code == 0 and "converted from uV to mV" in output and "from 500 Hz to 250 Hz" in output
    after = np.frombuffer((tmp_path / "out" / "r.dat").read_bytes(), "<i2").reshape(-1, 2)
    np.testing.assert_array_equal(after[digital != MISSING], digital[digital != MISSING])
    assert (abs(after[2000:2200, 0]) <= 10_000).all() and (after != MISSING).all()
    write_record(tmp_path / "low", "r", digital, names=("CC5", "CM5"), rate=125)
    options = ("--data", tmp_path / "low", "--out", tmp_path / "p.csv", "--samples", 0)
    code, output = condi("predict", "--model", site / "run", *options)
    assert code == 1 and "125 Hz" in output and "250 Hz" in output and "--resample" in output
    assert condi("predict", "--model", site / "run", *options, "--resample")[0] == 0


def test_files_that_were_completed_by_other_settings_are_not_taken_for_complete(site, tmp_path):
    digital = np.stack([holter_samples(1, 10), -holter_samples(1, 10)], 1)
    digital[100:200, 0] = MISSING
    write_record(tmp_path / "in", "r", digital, names=("CC5", "CM5"), rate=RATE)
    local = write_settings(tmp_path, "[signals.CM5]\nscale = 1\n")
    words = ("impute", "--model", site / "run", "--data", tmp_path / "in", "--out", tmp_path / "out")
    assert condi(*words, "--local", local)[0] == 0
    code, output = condi(*words, "--local", local)
    assert code == 0 and "1 had been completed before" in output
    completed = (tmp_path / "out" / "r.dat").read_bytes()
    write_settings(tmp_path, "[signals.CM5]\nscale = -1\n")
    code, output = condi(*words, "--local", local)
    assert code == 1 and "was made with other settings: choose another --out" in output
    assert (tmp_path / "out" / "r.dat").read_bytes() == completed


def test_a_model_without_description_takes_the_names_of_a_site(tmp_path, ecg_run, call):
    from tests.helpers.ecg_run import ecg, hole_error, with_hole

    leads = ecg()
    write_record(tmp_path / "in", "r", with_hole(leads), names=("lead 1", "lead 2", "lead 3"), gain="1(0)/uV")
    text = "".join(f'[signals.{n}]\nchannels = ["lead {i}"]\n' for i, n in enumerate(("I", "II", "III"), 1))
    code, output = call(
        "impute", tmp_path / "in", tmp_path / "out", "--local", write_settings(tmp_path, text)
    )
    assert code == 0, output
    after = np.frombuffer((tmp_path / "out" / "r.dat").read_bytes(), "<i2").reshape(-1, 3)
    assert hole_error(after, leads) < 0.05
    text += 'scale = 0.001\nfile-unit = "mV"\n[signals.IV]\nchannels = "x"\n'
    code, output = call("impute", tmp_path / "in", tmp_path / "no", "--local", write_settings(tmp_path, text))
    assert code == 1 and 'site.toml, line 10: there is no signal "IV"' in output


def test_arrays_are_read_as_the_site_says_and_several_recordings_in_one_are_predicted(tmp_path, call):
    from tests.helpers.ecg_run import LEADS, ecg, hole_error, with_hole

    leads = ecg()
    digital = with_hole(leads)
    samples = np.where(digital == MISSING, np.nan, digital / 1000).astype(np.float32)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "x.npy", samples)
    files = f'[files]\nformat = "npy"\npath = "*.npy"\nrate = 100\nchannel-names = {json.dumps(LEADS)}\n'
    local = write_settings(tmp_path, files)
    assert call("impute", tmp_path / "in", tmp_path / "out", "--local", local)[0] == 0
    after = np.load(tmp_path / "out" / "x.npy")
    assert after.dtype == np.float32 and np.isfinite(after).all()
    assert hole_error(after * 1000, leads) < 0.05
    observed = ~np.isnan(samples)
    np.testing.assert_array_equal(after[observed], samples[observed])
    expected = tmp_path / "expected.csv"
    assert call("predict", tmp_path / "in", expected, "--samples", 0, "--local", local)[0] == 0
    np.save(tmp_path / "in" / "x.npy", np.stack([samples, samples]))
    local = write_settings(tmp_path, f'{files}axes = "record time channel"\n')
    out = tmp_path / "p.csv"
    assert call("predict", tmp_path / "in", out, "--samples", 0, "--local", local)[0] == 0
    result, expected = pd.read_csv(out), pd.read_csv(expected)
    assert list(result["record"]) == ["x/0"] * 2 + ["x/1"] * 2
    np.testing.assert_allclose(result["slow"], np.tile(expected["slow"], 2), atol=2e-6)
    code, output = call("impute", tmp_path / "in", tmp_path / "no", "--local", local)
    assert code == 1 and "has several recordings, which can be predicted but not completed" in output
