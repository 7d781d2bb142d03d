"""Records longer than a window: blended, resumed where they were, and in memory that does not grow."""

import subprocess
import sys

import numpy as np
import pytest

from client_app.inference import completed_signals
from client_app.inference.overlap import blend_weights
from condi_core import load_model
from condi_core.windows import WINDOWS_PER_BLOCK
from tests.helpers.ecg_run import LEADS, PATCHES, SAMPLES, ecg
from tests.helpers.wfdb_files import MISSING, write_record

WINDOW = PATCHES * SAMPLES


def write_long(folder, seconds, holes, leads=None):
    """Write a record whose lead II misses `holes`, slices of samples; return its digital samples."""
    digital = np.round(1000 * (ecg(seconds) if leads is None else leads)).astype(int)
    for hole in holes:
        digital[hole, 1] = MISSING
    write_record(folder, "r", digital, names=LEADS)
    return digital


def read_samples(folder):
    return np.frombuffer((folder / "r.dat").read_bytes(), "<i2").reshape(-1, len(LEADS))


def impute_window(model, digital, start):
    """Impute a window that starts at a sample: `(sample, lead)` in mV."""
    part = digital[start : start + WINDOW]
    x = np.where(part == MISSING, np.nan, part / 1000).astype(np.float32)
    point = model.impute(x.T.reshape(1, *model.schema.shape)).point
    return point.reshape(len(LEADS), WINDOW).T


def test_overlapping_windows_are_blended_and_the_ends_belong_to_one_window(tmp_path, call, ecg_run):
    holes = [slice(20, 60), slice(350, 450), slice(700, 715)]
    digital = write_long(tmp_path / "in", 7.15, holes)
    assert call("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    after, model = read_samples(tmp_path / "out"), load_model(ecg_run)
    np.testing.assert_array_equal(after[digital != MISSING], digital[digital != MISSING])
    first = impute_window(model, digital, 0)[20:60, 1]
    np.testing.assert_allclose(after[20:60, 1] / 1000, first, atol=0.002)
    windows = [impute_window(model, digital, start)[:, 1] for start in (200, 300, 400)]
    weights = blend_weights(PATCHES, SAMPLES).reshape(-1)
    expected = [
        weights[i - 200] * windows[0][i - 200] + weights[i - 300] * windows[1][i - 300]
        for i in range(350, 400)
    ] + [
        weights[i - 300] * windows[1][i - 300] + weights[i - 400] * windows[2][i - 400]
        for i in range(400, 450)
    ]
    np.testing.assert_allclose(after[350:450, 1] / 1000, expected, atol=0.002)
    truth = ecg(7.15)[:, 1]
    for hole in holes:
        assert np.sqrt(np.mean((after[hole, 1] / 1000 - truth[hole]) ** 2)) < 0.05


def test_a_record_of_one_window_has_the_values_of_the_model(tmp_path, call, ecg_run):
    digital = write_long(tmp_path / "in", 2, [slice(50, 90)])
    assert call("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    after = read_samples(tmp_path / "out")[50:90, 1]
    expected = impute_window(load_model(ecg_run), digital, 0)[50:90, 1]
    np.testing.assert_array_equal(after, np.round(1000 * expected))


@pytest.mark.parametrize("rate, resample", [(500, True), (250, True), (50, True)])
def test_a_record_of_another_rate_is_completed_at_its_own_rate(tmp_path, call, rate, resample):
    holes = [slice(3 * rate, 4 * rate), slice(19 * rate, 19 * rate + 1), slice(59 * rate, None)]
    leads = ecg(60, rate=rate)
    digital = np.round(1000 * leads).astype(int)
    for hole in holes:
        digital[hole, 1] = MISSING
    write_record(tmp_path / "in", "r", digital, names=LEADS, rate=rate)
    code, output = call("impute", tmp_path / "in", tmp_path / "no")
    assert code == 1 and f"{rate} Hz" in output and "--resample" in output
    assert call("impute", tmp_path / "in", tmp_path / "out", "--resample")[0] == 0
    after = read_samples(tmp_path / "out")
    np.testing.assert_array_equal(after[digital != MISSING], digital[digital != MISSING])
    assert (after != MISSING).all()
    error = after[holes[0], 1] / 1000 - leads[holes[0], 1]
    assert np.sqrt(np.mean(error**2)) < (0.2 if rate < 100 else 0.06)


def test_an_interrupted_record_goes_on_where_it_was(tmp_path, call, ecg_run, monkeypatch):
    seconds = 3 * WINDOWS_PER_BLOCK
    write_long(tmp_path / "in", seconds, [slice(100 * s, 100 * s + 30) for s in range(1, seconds)])
    assert call("impute", tmp_path / "in", tmp_path / "whole", "--samples", 3)[0] == 0
    impute, calls = completed_signals.CompletedSignals._impute, []

    def stop_after_one_block(signals, values):
        calls.append(len(values))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return impute(signals, values)

    monkeypatch.setattr(completed_signals.CompletedSignals, "_impute", stop_after_one_block)
    code, _ = call("impute", tmp_path / "in", tmp_path / "out", "--samples", 3)
    assert code and len(calls) == 2 and not list((tmp_path / "out").glob("r.*"))
    assert len(list((tmp_path / "out").glob(".r.hea.partial/*.npy"))) == 1
    code, output = call("impute", tmp_path / "in", tmp_path / "out", "--samples", 3)
    assert code == 0 and len(calls) == 4, "only two of three blocks are left to impute"
    files = [f.relative_to(tmp_path / "whole") for f in (tmp_path / "whole").rglob("*.dat")]
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not list((tmp_path / "out").glob(".*"))


def test_provenance_counts_what_was_imputed_and_lists_not_too_many_intervals(tmp_path, call, monkeypatch):
    import json

    from client_app.inference import filled_output

    monkeypatch.setattr(filled_output, "MAX_INTERVALS", 5)
    write_long(tmp_path / "in", 20, [slice(100 * s, 100 * s + 10) for s in range(20)])
    assert call("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    provenance = json.loads((tmp_path / "out" / "r.hea.provenance.json").read_text())
    assert provenance["imputed samples"] == {"II": 200}
    intervals = provenance["imputed samples as [first, end)"]["II"]
    assert intervals == [[100 * s, 100 * s + 10] for s in range(5)]


def test_what_has_no_observation_is_said(tmp_path, call):
    digital = write_long(tmp_path / "in", 12, [])
    digital[300:900] = MISSING
    write_record(tmp_path / "in", "r", digital, names=LEADS)
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "5 of 11 windows have no observed sample" in output


MEASURE = """
import sys
from pathlib import Path
from client_app.inference.impute_files import impute_files
from client_app.inference.recording_reader import ReadingOptions
from client_app.inference.site_data import open_site_data
from client_app.inference.site_description import SiteSettings
from condi_core import load_model
run, data, out = map(Path, sys.argv[1:])
model = load_model(run)
quiet = lambda *_: None
with open_site_data(run, model, data, SiteSettings(), ReadingOptions(), quiet) as reader:
    assert impute_files(model, data, out, 3, 0, reader, quiet).completed == 1
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(int(peak.split()[1]) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_record(tmp_path, ecg_run):
    leads, megabytes = ecg(600), []
    for minutes in (10, 240):
        folder = tmp_path / f"in-{minutes}"
        write_long(folder, 0, [slice(120, 180)], np.tile(leads, (minutes // 10, 1)))
        command = [sys.executable, "-c", MEASURE, ecg_run, folder, tmp_path / f"out-{minutes}"]
        result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
        megabytes.append(float(result.stdout))
    # The longer file itself is mapped (33 MB); its samples as float64 would take 132 MB.
    assert megabytes[1] < megabytes[0] + 66, megabytes
