"""A completed EDF file differs from the file in the samples that were missing, and in nothing else."""

import numpy as np
import pytest

from data_partitions.recordings import edf_output, edf_signals, open_recording
from tests.helpers.completion import complete
from tests.helpers.edf_files import EdfSignal, write_edf_file


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(edf_signals, "BLOCK_NUMBERS", 350)
    monkeypatch.setattr(edf_output, "BLOCK_NUMBERS", 33)


def draw_signals(highest):
    rng = np.random.default_rng(3)
    limits = (str(-highest - 1), str(highest))
    digital = rng.integers(-highest, highest, 400)
    digital[150:280] = -highest - 1
    digital[300] = highest
    return [
        EdfSignal("ECG", digital, 100, "mV", ("-5", "5"), limits),
        EdfSignal("Resp", rng.integers(-90, 90, 4), 1, "", ("-1", "1"), limits),
    ]


@pytest.mark.parametrize("suffix, highest", [(".edf", 32767), (".bdf", 2**23 - 1)])
@pytest.mark.parametrize("kind", ["", "C", "D"])
def test_only_missing_samples_change(tmp_path, suffix, highest, kind):
    signals = draw_signals(highest)
    onsets = {"": None, "C": [0, 1, 2, 3], "D": [0, 1, 5, 6]}[kind]
    reserved = f"{suffix[1:].upper()}+{kind}" if kind else ""
    file = write_edf_file(
        tmp_path / f"a{suffix}", signals, reserved=reserved, onsets=onsets, time="xx", date="", records=-1,
        tail=b"rest",
    )  # fmt: skip
    copy = complete(file, tmp_path / "out", lambda channel, at: 1.25, ends_of_range="missing")
    before, after = (np.frombuffer(f.read_bytes(), np.uint8) for f in (file, copy))
    assert len(before) == len(after)
    assert (before != after).sum() <= (130 + 1) * (2 if suffix == ".edf" else 3)
    recording = open_recording(copy)
    read = np.concatenate([recording.read(0, 0, 200), recording.read(0, 200, recording.channels[0].samples)])
    read = read[~np.isnan(read)]
    step = 10 / (2 * highest + 1)
    expected = -5 + step * (signals[0].digital + highest + 1)
    missing = np.abs(signals[0].digital) >= highest
    np.testing.assert_allclose(read[missing], 1.25, atol=step / 2)
    np.testing.assert_allclose(read[~missing], expected[~missing], atol=1e-9)


@pytest.mark.parametrize("value", [1.25, np.nan])
def test_a_file_without_missing_samples_is_copied_byte_by_byte(tmp_path, value):
    file = write_edf_file(tmp_path / "a.edf", draw_signals(32767))
    options = {} if value == 1.25 else {"ends_of_range": "missing"}
    copy = complete(file, tmp_path / "out", lambda channel, at: value, **options)
    assert copy.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("limits", [("-2048", "2047"), ("2047", "-2048"), ("-40000", "40000")])
def test_values_stay_inside_the_range(tmp_path, limits):
    digital = np.zeros(100, int)
    digital[50:60] = -32768 if limits[0] == "-40000" else -2048
    file = write_edf_file(tmp_path / "a.edf", [EdfSignal("x", digital, 100, "mV", ("-5", "5"), limits)])
    copy = complete(file, tmp_path / "out", lambda channel, at: 1e9, ends_of_range="missing")
    after = np.frombuffer(copy.read_bytes()[-200:], "<i2")
    expected = {"-2048": 2046, "2047": -2047, "-40000": -32768}[limits[0]]
    assert (after[50:60] == expected).all() and not after[:50].any()
