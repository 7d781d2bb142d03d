"""`condi impute` and `predict`: partitions and native files are completed once, with provenance."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import wfdb

from client_app.inference import impute_partition
from condi_core import load_model
from data_partitions.partition import Partition
from tests.helpers.generated_run import schema, write_run
from tests.helpers.inference_inputs import SCHEMA, WINDOWS, partition, record


def test_a_completed_partition_has_the_values_of_the_model(tmp_path, condi, run):
    code, output = condi("impute", partition(tmp_path / "in", ("II",)), tmp_path / "out", "--samples", "5")
    assert code == 0 and f"completed {WINDOWS} windows" in output
    before, after = Partition.open(tmp_path / "in"), Partition.open(tmp_path / "out")
    values, observed = before.read(range(WINDOWS))
    completed, complete = after.read(range(WINDOWS))
    assert complete.all() and all(m.present for m in after.manifest.modalities)
    np.testing.assert_array_equal(completed[observed], values[observed])
    expected = load_model(run).impute(values, observed, samples=5)
    np.testing.assert_allclose(completed, expected.point, atol=1e-3)
    low = np.load(tmp_path / "out" / "quantiles" / "q05" / "V1.npy")
    np.testing.assert_allclose(low, expected.quantiles([0.05])[0][:, 2], atol=1e-3)
    imputed = np.load(tmp_path / "out" / "imputed" / "I.npy")
    np.testing.assert_array_equal(imputed, ~observed[:, 0])
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["imputer sha256"] == load_model(run).imputer_hash and provenance["samples"] == 5
    assert not list(tmp_path.glob(".*"))
    code, output = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "exists already" in output


def test_a_completed_partition_is_read_as_what_was_measured(tmp_path, condi):
    assert condi("impute", partition(tmp_path / "in", ("II",)), tmp_path / "out")[0] == 0
    for name in ("in", "out"):
        assert condi("predict", tmp_path / name, tmp_path / f"{name}.csv", "--samples", "2")[0] == 0
    assert (tmp_path / "in.csv").read_text() == (tmp_path / "out.csv").read_text()
    assert condi("impute", tmp_path / "out", tmp_path / "again")[0] == 0
    for file in (tmp_path / "out").rglob("*.npy"):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tmp_path / "out")).read_bytes()


def test_implausible_values_of_a_partition_are_not_used_and_not_replaced(tmp_path, condi):
    fields = SCHEMA.model_dump()
    fields["modalities"][0]["range"] = (-1, 1)
    model = write_run(tmp_path / "run", type(SCHEMA).model_validate(fields))
    data = partition(tmp_path / "in")
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["modalities"][0]["range"] = [-1, 1]
    (data / "manifest.json").write_text(json.dumps(manifest))
    code, output = condi("impute", data, tmp_path / "out", model=model)
    before, after = (np.load(tmp_path / name / "values" / "I.npy") for name in ("in", "out"))
    number = int((abs(before) > 1).sum())
    assert code == 0 and f"{number} values are outside the range of I, -1 to 1 mV: not used" in output
    observed = ~np.isnan(before)
    np.testing.assert_array_equal(after[observed], before[observed])
    assert number > 100 and (abs(after[~observed]) <= 1).all()


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_an_interrupted_partition_resumes_with_the_same_result(tmp_path, condi, run, monkeypatch, steps):
    data = partition(tmp_path / "in")
    condi("impute", data, tmp_path / "whole", "--samples", "3")
    save_progress, remaining = impute_partition._save_progress, [steps]

    def interrupt(*arguments):
        if not remaining[0]:
            raise KeyboardInterrupt
        remaining[0] -= 1
        save_progress(*arguments)

    monkeypatch.setattr(impute_partition, "_save_progress", interrupt)
    model = load_model(run)
    with pytest.raises(KeyboardInterrupt):
        impute_partition.impute_partition(model, data, tmp_path / "out", 3, 0, lambda *_: None)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    code, output = condi("impute", data, tmp_path / "out", "--samples", "0")
    if not steps:  # no windows had been finished
        assert code == 0 and not (tmp_path / "out" / "quantiles").exists()
        return
    assert code == 1 and "started with another" in output
    code, output = condi("impute", data, tmp_path / "out", "--samples", "3", "--json")
    assert json.loads(output) == {
        "unit": "windows",
        "completed": WINDOWS - 16 * steps,
        "completed_before": 16 * steps,
        "skipped": [],
    }
    files = sorted(f.relative_to(tmp_path / "whole") for f in (tmp_path / "whole").rglob("*.npy"))
    assert len(files) == 3 * (1 + 1 + 5)
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_records_are_completed_into_records(tmp_path, condi, run):
    before = record(tmp_path / "in" / "a", "r1", seconds=5)
    record(tmp_path / "in", "whole", gaps=False)
    code, output = condi("impute", tmp_path / "in", tmp_path / "out", "--samples", "5")
    assert code == 0 and "completed 2 files (nothing was missing in 1 file), skipped 0" in output
    for name in ("whole.hea", "whole.dat"):
        assert (tmp_path / "in" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    after = wfdb.rdrecord(str(tmp_path / "out" / "a" / "r1"), physical=False).d_signal
    missing = before == -(2**15)
    np.testing.assert_array_equal(after[~missing], before[~missing])
    windows = np.full((3, 600), np.nan, np.float32)
    windows[:, :500] = np.where(missing, np.nan, before / 1000).T
    windows = windows.reshape(3, 3, 20, 10).transpose(1, 0, 2, 3)
    expected = load_model(run).impute(windows, samples=5)
    filled = expected.point.transpose(1, 0, 2, 3).reshape(3, -1)[0, 50:90]
    np.testing.assert_allclose(after[50:90, 0] / 1000, filled, atol=2e-3)
    high = wfdb.rdrecord(str(tmp_path / "out" / "quantiles" / "q95" / "a" / "r1"), physical=False).d_signal
    upper = expected.quantiles([0.95])[0].transpose(1, 0, 2, 3).reshape(3, -1)[0, 50:90]
    np.testing.assert_allclose(high[50:90, 0] / 1000, upper, atol=2e-3)
    provenance = json.loads((tmp_path / "out" / "a" / "r1.hea.provenance.json").read_text())
    assert provenance["imputed samples as [first, end)"] == {"I": [[50, 90]]}
    assert provenance["imputer sha256"] == load_model(run).imputer_hash


def test_completed_files_are_neither_completed_again_nor_replaced(tmp_path, condi):
    record(tmp_path / "in", "r1")
    record(tmp_path / "in", "r2", seed=2)
    assert condi("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    (tmp_path / "out" / "r2.dat").unlink()  # as if the command had been stopped here
    first = (tmp_path / "out" / "r1.dat").stat().st_mtime_ns
    code, output = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "completed 1 file, 1 had been completed before" in output
    assert (tmp_path / "out" / "r1.dat").stat().st_mtime_ns == first
    assert (tmp_path / "out" / "r2.dat").exists()
    code, output = condi("impute", tmp_path / "in", tmp_path / "out", "--samples", "2")
    assert code == 1 and output.count("made with other samples") == 2
    (tmp_path / "out" / "r1.hea.provenance.json").unlink()
    content = (tmp_path / "out" / "r1.dat").read_bytes()
    code, output = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "was not written by this command" in output
    assert (tmp_path / "out" / "r1.dat").read_bytes() == content
    code, output = condi("impute", tmp_path / "in", tmp_path / "in")
    assert code == 1 and "is in the folder of the data" in output


def test_the_completion_of_a_file_does_not_depend_on_other_files(tmp_path, condi):
    for i in range(4):
        record(tmp_path / "in", f"r{i}", seed=i)
    record(tmp_path / "alone", "z", seed=2)
    condi("impute", tmp_path / "in", tmp_path / "out")
    condi("impute", tmp_path / "alone" / "z.hea", tmp_path / "out-alone")
    with_others, alone = (
        wfdb.rdrecord(str(f), physical=False).d_signal
        for f in (tmp_path / "out/r2", tmp_path / "out-alone/z")
    )
    np.testing.assert_allclose(with_others, alone, atol=1)


def test_bad_files_are_named_and_the_others_completed(tmp_path, condi):
    record(tmp_path / "in", "good")
    record(tmp_path / "in", "leads", leads=("I", "II", "X"))
    record(tmp_path / "in", "cut")
    (tmp_path / "in" / "cut.dat").write_bytes(b"\0" * 10)
    (tmp_path / "in" / "not.edf").write_text("hello")
    code, output = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1
    assert output.count("skipped: ") == 3 and "completed 1 file, skipped 3" in output
    assert (tmp_path / "out" / "good.dat").exists() and not list((tmp_path / "out").glob("leads*"))
    assert (
        "leads.hea has X, which the model does not know (known are I, II, V1), and lacks V1: if these are "
        "the same signals, give a dataset.toml with their names in the files as --map, or a file of names as "
        "--local; if not, give --keep-unknown"
    ) in output
    code, output = condi("impute", tmp_path / "in", tmp_path / "copied", "--keep-unknown", "--json")
    assert code == 1 and len(json.loads(output)["skipped"]) == 2
    assert (tmp_path / "copied" / "leads.dat").exists()


def test_hourly_stays_are_completed_into_csv(tmp_path, condi):
    hours = schema(rates=(1, 1), patches=48, patch_seconds=3600.0, names=("HR", "Lactate"), unit="")
    model = write_run(tmp_path / "icu", hours)
    rows = "".join(f"{h},{80 + h % 5 if h % 3 else ''},{'1.50' if h == 7 else ''}\n" for h in range(48))
    (tmp_path / "stay.csv").write_text("hour,HR,Lactate\n" + rows)
    code, output = condi("impute", tmp_path / "stay.csv", tmp_path / "out", model=model)
    assert code == 0, output
    before = pd.read_csv(tmp_path / "stay.csv")
    after = pd.read_csv(tmp_path / "out" / "stay.csv")
    assert after.notna().all().all() and list(after) == list(before)
    pd.testing.assert_frame_equal(after.where(before.notna()), before, check_dtype=False)
    assert "\n7,82,1.50\n" in (tmp_path / "out" / "stay.csv").read_text()


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda p: shutil.rmtree(p / "run"), "there is no run"),
        (lambda p: (p / "run" / "imputer.safetensors").write_bytes(b"hello"), "holds no weights"),
        (lambda p: shutil.rmtree(p / "in"), "there is no "),
        (lambda p: (p / "in" / "manifest.json").rename(p / "in" / "federation.json"), "is a federation"),
    ],
)
def test_unusable_input_is_reported_in_one_sentence(tmp_path, condi, damage, sentence):
    write_run(tmp_path / "run", SCHEMA)
    partition(tmp_path / "in")
    damage(tmp_path)
    for command in ("impute", "predict"):
        code, output = condi(command, tmp_path / "in", tmp_path / "out", model=tmp_path / "run")
        assert code == 1 and sentence in output and output.count("\n") == 1, output
        assert not (tmp_path / "out").exists()


def test_a_partition_of_another_shape_is_refused(tmp_path, condi):
    other = write_run(tmp_path / "other", schema(patches=30))
    for command in ("impute", "predict"):
        code, output = condi(command, partition(tmp_path / command), tmp_path / "out", model=other)
        assert code == 1 and "has other patches than the model, which reads 30 patches" in output
