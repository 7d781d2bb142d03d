"""`condi impute`: partitions and native files completed, each whole, once, and with its provenance."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import wfdb
from typer.testing import CliRunner

from client_app.inference import impute_partition
from condi_core import load_model
from data_partitions.manifest import Manifest
from data_partitions.partition import Partition, write_partition
from server_app.cli import app
from tests.helpers.generated_run import schema, write_run

SCHEMA = schema()
WINDOWS = 37


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", SCHEMA)


@pytest.fixture
def condi(run):
    """`condi(command, data, out, *options)` → exit code and what was printed."""

    def call(command, data, out, *options, model=run):
        given = [command, "--model", model, "--data", data, "--out", out, *options]
        result = CliRunner().invoke(app, [str(word) for word in given])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return call


def record(folder, name, seconds=2, seed=0, lacking=True, leads=("I", "II", "V1")):
    rng = np.random.default_rng(seed)
    samples = (1000 * rng.standard_normal((seconds * 100, len(leads))).cumsum(0) / 10).astype(int)
    if lacking:
        samples[50:90, 0] = -(2**15)
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name, 100, ["mV"] * len(leads), list(leads), d_signal=samples, fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads), baseline=[0] * len(leads), write_dir=str(folder),
    )  # fmt: skip
    return samples


def partition(path, lacking=()):
    """One of 37 windows, half of whose samples are missing."""
    rng = np.random.default_rng(1)
    windows = rng.standard_normal((WINDOWS, *SCHEMA.shape)).cumsum(-1).astype(np.float32)
    windows[rng.random(windows.shape) < 0.5] = np.nan
    modalities = [
        {"name": m.name, "unit": "mV", "rate": 100, "samples_per_patch": 10, "present": m.name not in lacking}
        for m in SCHEMA.modalities
    ]
    manifest = Manifest(
        dataset="generated", version="1", site="north", modalities=modalities, patch_seconds=0.1, patches=20,
        labels=SCHEMA.labels, task="multi-label", label_rule="none", license="none", made_by="a test",
        windows={"train": 0, "val": 0, "test": WINDOWS},
    )  # fmt: skip
    ids = [f"r{i}" for i in range(WINDOWS)]
    index = pd.DataFrame({"record_id": ids, "patient_id": ids, "split": "test"})
    write_partition(path, manifest, index.assign(well=1, ill=0), windows)
    return path


def test_a_completed_partition_is_what_the_model_says(tmp_path, condi, run):
    code, said = condi("impute", partition(tmp_path / "in", ("II",)), tmp_path / "out", "--samples", "5")
    assert code == 0 and f"completed {WINDOWS} windows" in said
    before, after = Partition.open(tmp_path / "in"), Partition.open(tmp_path / "out")
    values, observed = before.read(range(WINDOWS))
    completed, there = after.read(range(WINDOWS))
    assert there.all() and all(m.present for m in after.manifest.modalities)
    np.testing.assert_array_equal(completed[observed], values[observed])
    expected = load_model(run).impute(values, observed, samples=5)
    np.testing.assert_allclose(completed, expected.point, atol=1e-3)
    low = np.load(tmp_path / "out" / "quantiles" / "q05" / "V1.npy")
    np.testing.assert_allclose(low, expected.quantiles([0.05])[0][:, 2], atol=1e-3)
    imputed = np.load(tmp_path / "out" / "imputed" / "I.npy")
    np.testing.assert_array_equal(imputed, ~observed[:, 0])
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert told["imputer sha256"] == load_model(run).hash and told["samples"] == 5
    assert not list(tmp_path.glob(".*"))
    code, said = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "exists already" in said


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_an_interrupted_partition_goes_on_and_ends_the_same(tmp_path, condi, run, monkeypatch, steps):
    data = partition(tmp_path / "in")
    condi("impute", data, tmp_path / "whole", "--samples", "3")
    note, left = impute_partition._note, [steps]

    def die(*given):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        note(*given)

    monkeypatch.setattr(impute_partition, "_note", die)
    model = load_model(run)
    with pytest.raises(KeyboardInterrupt):
        impute_partition.impute_partition(model, data, tmp_path / "out", 3, 0, lambda *_: None)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    code, said = condi("impute", data, tmp_path / "out", "--samples", "0")
    if not steps:  # nothing had been finished: what was there is of no use
        assert code == 0 and not (tmp_path / "out" / "quantiles").exists()
        return
    assert code == 1 and "begun with another" in said
    code, said = condi("impute", data, tmp_path / "out", "--samples", "3", "--json")
    assert json.loads(said) == {
        "what": "windows",
        "done": WINDOWS - 16 * steps,
        "before": 16 * steps,
        "skipped": [],
    }
    files = sorted(f.relative_to(tmp_path / "whole") for f in (tmp_path / "whole").rglob("*.npy"))
    assert len(files) == 3 * (1 + 1 + 5)
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_records_come_back_with_what_they_lacked(tmp_path, condi, run):
    before = record(tmp_path / "in" / "a", "r1", seconds=5)
    record(tmp_path / "in", "whole", lacking=False)
    code, said = condi("impute", tmp_path / "in", tmp_path / "out", "--samples", "5")
    assert code == 0 and "completed 2 files" in said
    for name in ("whole.hea", "whole.dat"):
        assert (tmp_path / "in" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    after = wfdb.rdrecord(str(tmp_path / "out" / "a" / "r1"), physical=False).d_signal
    lacks = before == -(2**15)
    np.testing.assert_array_equal(after[~lacks], before[~lacks])
    windows = np.full((3, 600), np.nan, np.float32)
    windows[:, :500] = np.where(lacks, np.nan, before / 1000).T
    windows = windows.reshape(3, 3, 20, 10).transpose(1, 0, 2, 3)
    expected = load_model(run).impute(windows, samples=5)
    filled = expected.point.transpose(1, 0, 2, 3).reshape(3, -1)[0, 50:90]
    np.testing.assert_allclose(after[50:90, 0] / 1000, filled, atol=2e-3)
    high = wfdb.rdrecord(str(tmp_path / "out" / "quantiles" / "q95" / "a" / "r1"), physical=False).d_signal
    upper = expected.quantiles([0.95])[0].transpose(1, 0, 2, 3).reshape(3, -1)[0, 50:90]
    np.testing.assert_allclose(high[50:90, 0] / 1000, upper, atol=2e-3)
    told = json.loads((tmp_path / "out" / "a" / "r1.hea.provenance.json").read_text())
    assert told["imputed samples, from and before"] == {"I": [[50, 90]]}
    assert told["imputer sha256"] == load_model(run).hash


def test_what_was_done_is_not_done_again_and_never_replaced(tmp_path, condi):
    record(tmp_path / "in", "r1")
    record(tmp_path / "in", "r2", seed=2)
    assert condi("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    (tmp_path / "out" / "r2.dat").unlink()  # as if the program had been stopped here
    first = (tmp_path / "out" / "r1.dat").stat().st_mtime_ns
    code, said = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "completed 1 files, 1 had been done before" in said
    assert (tmp_path / "out" / "r1.dat").stat().st_mtime_ns == first
    assert (tmp_path / "out" / "r2.dat").exists()
    code, said = condi("impute", tmp_path / "in", tmp_path / "out", "--samples", "2")
    assert code == 1 and said.count("made with another samples") == 2
    (tmp_path / "out" / "r1.hea.provenance.json").unlink()
    kept = (tmp_path / "out" / "r1.dat").read_bytes()
    code, said = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "not of this command" in said
    assert (tmp_path / "out" / "r1.dat").read_bytes() == kept
    code, said = condi("impute", tmp_path / "in", tmp_path / "in")
    assert code == 1 and "is in the folder of the data" in said


def test_files_are_completed_the_same_whatever_else_is_there(tmp_path, condi):
    for i in range(4):
        record(tmp_path / "in", f"r{i}", seed=i)
    record(tmp_path / "alone", "z", seed=2)
    condi("impute", tmp_path / "in", tmp_path / "out")
    condi("impute", tmp_path / "alone" / "z.hea", tmp_path / "out-alone")
    one, two = (
        wfdb.rdrecord(str(f), physical=False).d_signal
        for f in (tmp_path / "out/r2", tmp_path / "out-alone/z")
    )
    np.testing.assert_allclose(one, two, atol=1)


def test_bad_files_are_named_and_the_others_done(tmp_path, condi):
    record(tmp_path / "in", "good")
    record(tmp_path / "in", "leads", leads=("I", "II", "X"))
    record(tmp_path / "in", "cut")
    (tmp_path / "in" / "cut.dat").write_bytes(b"\0" * 10)
    (tmp_path / "in" / "not.edf").write_text("hello")
    code, said = condi("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1
    assert said.count("skipped: ") == 3 and "completed 1 files, skipped 3" in said
    assert (tmp_path / "out" / "good.dat").exists() and not list((tmp_path / "out").glob("leads*"))
    assert "leads.hea has X, which the model does not know (known are I, II, V1)" in said
    code, said = condi("impute", tmp_path / "in", tmp_path / "kept", "--keep-unknown", "--json")
    assert code == 1 and len(json.loads(said)["skipped"]) == 2
    assert (tmp_path / "kept" / "leads.dat").exists()


def test_stays_of_hours_come_back_as_csv(tmp_path, condi):
    hours = schema(rates=(1, 1), patches=48, patch_seconds=3600.0, names=("HR", "Lactate"), unit="")
    model = write_run(tmp_path / "icu", hours)
    rows = "".join(f"{h},{80 + h % 5 if h % 3 else ''},{'1.50' if h == 7 else ''}\n" for h in range(48))
    (tmp_path / "stay.csv").write_text("hour,HR,Lactate\n" + rows)
    code, said = condi("impute", tmp_path / "stay.csv", tmp_path / "out", model=model)
    assert code == 0, said
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
def test_what_cannot_be_used_costs_one_sentence(tmp_path, condi, damage, sentence):
    write_run(tmp_path / "run", SCHEMA)
    partition(tmp_path / "in")
    damage(tmp_path)
    for command in ("impute", "predict"):
        code, said = condi(command, tmp_path / "in", tmp_path / "out", model=tmp_path / "run")
        assert code == 1 and sentence in said and said.count("\n") == 1, said
        assert not (tmp_path / "out").exists()


def test_a_partition_of_another_shape_is_refused(tmp_path, condi):
    other = write_run(tmp_path / "other", schema(patches=30))
    for command in ("impute", "predict"):
        code, said = condi(command, partition(tmp_path / command), tmp_path / "out", model=other)
        assert code == 1 and "has other patches than the model, which reads 30 patches" in said


def test_predictions_are_one_row_a_window_and_say_what_is_lacking(tmp_path, condi, run):
    data = partition(tmp_path / "in", ("II",))
    code, said = condi("predict", data, tmp_path / "p.csv", "--samples", "4")
    assert code == 0, said
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert list(table) == ["record", "window", "well", "ill", "well spread", "ill spread", "lacks"]
    assert list(table["record"]) == [f"r{i}" for i in range(WINDOWS)] and set(table["lacks"]) == {"II"}
    expected = load_model(run).predict(*Partition.open(data).read(range(WINDOWS)), samples=4)
    np.testing.assert_allclose(table[["well", "ill"]], expected.probabilities, atol=1e-4)
    np.testing.assert_allclose(table[["well spread", "ill spread"]], expected.spread, atol=1e-4)
    code, said = condi("predict", data, tmp_path / "p.csv")
    assert code == 1 and "exists already" in said


def test_files_are_classified_window_by_window(tmp_path, condi):
    record(tmp_path / "in" / "a", "long", seconds=5, leads=("I", "V1"))
    (tmp_path / "in" / "not.edf").write_text("hello")
    code, said = condi("predict", tmp_path / "in", tmp_path / "p.csv", "--method", "mask", "--json")
    assert code == 1
    assert json.loads(said)["windows"] == 3 and "not.edf" in json.loads(said)["skipped"][0]
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert list(table["record"]) == ["a/long"] * 3 and list(table["window"]) == [0, 1, 2]
    assert set(table["lacks"]) == {"II"} and set(table["well spread"]) == {""}
