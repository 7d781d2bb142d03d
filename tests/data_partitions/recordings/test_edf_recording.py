"""EDF and BDF files are read in stretches, with the values that mne reads."""

import mne
import numpy as np
import pytest

from data_partitions.errors import DataError
from data_partitions.recordings import edf_signals, open_recording
from tests.helpers.arrays_as_recordings import read_array
from tests.helpers.edf_files import EdfSignal, write_edf_file


def draw_signals(seconds=10, seed=1, highest=32767):
    rng = np.random.default_rng(seed)
    limits = (str(-highest - 1), str(highest))

    def draw(count):
        return rng.integers(-highest, highest, count)

    return [
        EdfSignal("EEG", draw(100 * seconds), 100, "uV", ("-187.5", "187.5"), limits),
        EdfSignal("Resp", draw(seconds), 1, "", ("-1", "10"), limits),
        EdfSignal("EOG", draw(50 * seconds), 50, "mV", ("5", "-5"), limits),
    ]


def expected_values(signal):
    low, high = map(int, signal.limits)
    bottom, top = map(float, signal.physical)
    return bottom + (top - bottom) / (high - low) * (signal.digital - low)


def read_all(recording):
    return [recording.read(i, 0, channel.samples) for i, channel in enumerate(recording.channels)]


def assert_reads(recording, signals):
    assert len(recording.channels) == len(signals)
    for samples, signal in zip(read_all(recording), signals, strict=True):
        np.testing.assert_allclose(samples, expected_values(signal), rtol=0, atol=1e-9)


@pytest.mark.parametrize("suffix, highest", [(".edf", 32767), (".bdf", 2**23 - 1)])
def test_values_agree_with_mne(tmp_path, suffix, highest, monkeypatch):
    monkeypatch.setattr(edf_signals, "BLOCK_NUMBERS", 500)
    signals = draw_signals(highest=highest)
    file = write_edf_file(tmp_path / f"a{suffix}", signals)
    recording = open_recording(file)
    assert_reads(recording, signals)
    assert recording.notes == () and str(recording.start) == "2026-03-02 12:30:05"
    assert [(c.name, c.unit, c.rate, c.samples) for c in recording.channels] == [
        ("EEG", "uV", 100, 1000),
        ("Resp", "", 1, 10),
        ("EOG", "mV", 50, 500),
    ]
    read_raw = mne.io.read_raw_edf if suffix == ".edf" else mne.io.read_raw_bdf
    raw = read_raw(file, include=["EEG"], verbose="ERROR")
    np.testing.assert_allclose(recording.read(0, 0, 1000), 1e6 * raw.get_data()[0], atol=1e-9)
    whole = recording.read(0, 0, 1000)
    for first, last in [(0, 1), (95, 412), (990, 1010), (-5, 3), (-9, -1), (4, 4)]:
        np.testing.assert_array_equal(recording.read(0, first, last), read_array(whole, first, last))


def test_the_ends_of_the_range_are_values_unless_the_options_say_otherwise(tmp_path):
    signal = draw_signals()[0]._replace(limits=("-2048", "2047"))
    digital = np.clip(signal.digital // 16, -2047, 2046)
    digital[100:103] = -2048
    digital[200] = 2047
    digital[300], digital[301] = -3000, 3000  # beyond the range of the header
    signal = signal._replace(digital=digital)
    file = write_edf_file(tmp_path / "a.edf", [signal])
    assert_reads(open_recording(file), [signal])
    missing = np.isnan(open_recording(file, ends_of_range="missing").read(0, 0, 1000))
    np.testing.assert_array_equal(np.flatnonzero(missing), [100, 101, 102, 200, 300, 301])
    assert open_recording(file).count_at_ends(0) == 6


@pytest.mark.parametrize(
    "options, note",
    [
        (dict(time="12:00:00"), ""),
        (dict(time=""), "no readable time"),
        (dict(time="xx.xx.xx"), "no readable time"),
        (dict(date=""), "no readable date"),
        (dict(date="31.02.26"), "no readable date"),
        (dict(pad=b"\0"), ""),
        (dict(record_seconds="1,0"), ""),
        (dict(records=-1), "states no number of data records"),
        (dict(records="many"), "states no number of data records"),
        (dict(records=9), "has more data records than"),
        (dict(records=12), "has fewer data records than"),
        (dict(tail=bytes(100)), "Bytes after the last"),
        (dict(tail=bytes(9000)), "Bytes after the last"),
        (dict(records=-1, tail=b"\1" * 100), "Bytes after the last"),
    ],
)
def test_unusual_headers_do_no_harm(tmp_path, options, note):
    signals = draw_signals()
    recording = open_recording(write_edf_file(tmp_path / "a.edf", signals, **options))
    assert_reads(recording, signals)
    assert note in " ".join(recording.notes) and bool(note) == bool(recording.notes)


def test_unused_and_doubled_channels_do_no_harm(tmp_path):
    eeg, resp, _ = draw_signals()
    extra = [
        EdfSignal("empty", np.zeros(0, int), 0),
        eeg,
        eeg._replace(label="EEG", unit="µV".encode()),
        EdfSignal("unused", np.zeros(10, int), 1, "", ("0", "0")),
        EdfSignal("text", np.zeros(10, int), 1, "", ("low", "high")),
        resp._replace(label=b"Schl\xe4fe", unit="µV"),
    ]
    recording = open_recording(write_edf_file(tmp_path / "a.edf", extra))
    assert [(c.name, c.unit) for c in recording.channels] == [("EEG", "uV"), ("EEG", "µV"), ("Schläfe", "µV")]
    assert_reads(recording, [eeg, eeg, resp])
    assert [note.split()[0] for note in recording.notes] == ["empty", "unused", "text"]


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_gaps_between_data_records_are_missing_time(tmp_path, suffix):
    highest = 32767 if suffix == ".edf" else 2**23 - 1
    signals = draw_signals(seconds=4, highest=highest)
    kind = suffix[1:].upper()
    file = write_edf_file(tmp_path / f"a{suffix}", signals, reserved=f"{kind}+D", onsets=[0, 1, 2.5, 10])
    recording = open_recording(file)
    assert [c.samples for c in recording.channels] == [1100, 11, 550]
    assert "Gaps between its data records" in recording.notes[0]
    for channel, signal in enumerate(signals):
        count = signal.samples
        expected = np.full(11 * count, np.nan)
        for record, onset in enumerate([0, 1, 2.5, 10]):
            start = round(onset * count)
            expected[start : start + count] = expected_values(signal)[record * count : (record + 1) * count]
        np.testing.assert_allclose(recording.read(channel, 0, 11 * count), expected, atol=1e-9)
        np.testing.assert_allclose(
            recording.read(channel, 2 * count, 3 * count), expected[2 * count : 3 * count], atol=1e-9
        )
    continuous = write_edf_file(tmp_path / f"c{suffix}", signals, reserved=f"{kind}+C", onsets=[0, 1, 2, 3])
    assert_reads(open_recording(continuous), signals)


@pytest.mark.parametrize(
    "onsets, sentence",
    [([0, 1, 1.5, 3], "data record, number 3, that starts before"), ([0, np.nan, 2, 3], "record 2 starts")],
)
def test_records_that_overlap_or_have_no_time_are_refused(tmp_path, onsets, sentence):
    file = write_edf_file(tmp_path / "a.edf", draw_signals(seconds=4), reserved="EDF+D", onsets=onsets)
    with pytest.raises(DataError, match=sentence):
        open_recording(file)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda content: content[:100], 'its number of channels is ""'),
        (lambda content: content[:600], "ends in its header of 3 channels"),
        (lambda content: content[:1100], "has no samples of any signal"),
        (lambda content: content[:256] + 3 * b"EDF Annotations " + content[304:], "and no signals"),
        (lambda content: b"<html>not found</html>" * 50, "is not an EDF file"),
        (lambda content: content[:244] + b"0       " + content[252:], "has no samples of any signal"),
        (lambda content: content[:244] + b"-1      " + content[252:], 'length of data records is "-1"'),
    ],
)
def test_wrong_files_are_refused_in_one_sentence(tmp_path, change, sentence):
    file = write_edf_file(tmp_path / "a.edf", draw_signals())
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError, match="a.edf") as error:
        open_recording(file)
    assert sentence in str(error.value) and "\n" not in str(error.value)
