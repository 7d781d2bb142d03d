"""Native files come back as they were, but for samples that nobody observed."""

import numpy as np
import pytest
import wfdb

from data_partitions.errors import DataError
from data_partitions.recordings import (
    Recording,
    Signal,
    WindowGrid,
    edf,
    find_recordings,
    format_of,
    hourly_csv,
    wfdb_record,
)

SCHEMA = {
    "modalities": [{"name": n, "unit": "mV", "samples_per_patch": 10} for n in ("I", "II", "V1")],
    "patch_seconds": 0.1,
    "patches": 20,
}


def write_wfdb(
    folder, name="r1", seconds=5, rate=100, fmt="16", missingness=True, leads=("I", "II", "V1"), unit="mV"
):
    """A record whose second lead lacks a stretch; its digital samples `(time, lead)`."""
    rng = np.random.default_rng(3)
    samples = rng.integers(-900, 900, (seconds * rate, len(leads)))
    if missingness:
        samples[rate : 2 * rate, 1] = -(2**15) if fmt == "16" else -(2**11)
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name, rate, ["mV"] * len(leads), list(leads), d_signal=samples, fmt=[fmt] * len(leads),
        adc_gain=[200.0, 1000.0, 123.5][: len(leads)], baseline=[0, 10, -7][: len(leads)],
        comments=["age: 54", "a remark"], write_dir=str(folder),
    )  # fmt: skip
    return samples


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_a_record_keeps_its_header_and_its_observed_samples(tmp_path, fmt):
    before = write_wfdb(tmp_path / "in", fmt=fmt)
    recording = wfdb_record.read(tmp_path / "in" / "r1.hea")
    lacks = np.isnan(recording.signals[1].samples)
    assert lacks.sum() == 100 and not np.isnan(recording.signals[0].samples).any()
    filled = [np.where(np.isnan(s.samples), 0.1234, 99.0) for s in recording.signals]
    (tmp_path / "out").mkdir()
    wfdb_record.write(recording, filled, tmp_path / "out")
    after = wfdb.rdrecord(str(tmp_path / "out" / "r1"), physical=False)
    np.testing.assert_array_equal(after.d_signal[:, [0, 2]], before[:, [0, 2]])
    np.testing.assert_array_equal(after.d_signal[~lacks, 1], before[~lacks, 1])
    assert (after.d_signal[lacks, 1] == round(0.1234 * 1000 + 10)).all()
    old, new = (wfdb.rdheader(str(tmp_path / d / "r1")) for d in ("in", "out"))
    for field in (
        "fs",
        "units",
        "adc_gain",
        "baseline",
        "sig_name",
        "fmt",
        "comments",
        "sig_len",
        "file_name",
    ):
        assert getattr(old, field) == getattr(new, field), field
    assert new.checksum == after.calc_checksum()


def test_a_whole_record_is_copied_byte_by_byte(tmp_path):
    write_wfdb(tmp_path / "in", missingness=False)
    recording = wfdb_record.read(tmp_path / "in" / "r1.hea")
    (tmp_path / "out").mkdir()
    wfdb_record.write(recording, [s.samples for s in recording.signals], tmp_path / "out")
    for name in ("r1.hea", "r1.dat"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()


def test_numbers_beyond_the_format_stop_at_its_ends(tmp_path):
    write_wfdb(tmp_path / "in", fmt="212")
    recording = wfdb_record.read(tmp_path / "in" / "r1.hea")
    (tmp_path / "out").mkdir()
    wfdb_record.write(recording, [np.full(500, 1e6)] * 3, tmp_path / "out")
    assert wfdb.rdrecord(str(tmp_path / "out" / "r1"), physical=False).d_signal[150, 1] == 2**11 - 1


def write_edf(file, missing=slice(40, 60)):
    """Two channels of different rates and an annotation; the first lacks a stretch. Digital samples of it."""
    from edfio import Edf, EdfAnnotation, EdfSignal

    rng = np.random.default_rng(5)
    signals = [
        EdfSignal(
            rng.uniform(-90, 90, 300), 100, label="EEG", physical_dimension="uV", physical_range=(-100, 100)
        ),
        EdfSignal(rng.uniform(0, 9, 3), 1, label="Resp", physical_dimension="", physical_range=(-1, 10)),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    Edf(signals, annotations=[EdfAnnotation(1, None, "a note")]).write(file)
    header = edf.read_edf_header(file)
    content = bytearray(file.read_bytes())
    raw = np.frombuffer(content, "<i2", offset=header.bytes).reshape(header.records, -1)
    flat = raw[:, : header.channels[0].samples].reshape(-1).copy()
    flat[missing] = header.channels[0].scale().low
    raw[:, : header.channels[0].samples] = flat.reshape(header.records, -1)
    file.write_bytes(content)
    return flat


def test_an_edf_file_changes_where_nothing_was_observed_and_nowhere_else(tmp_path):
    before = write_edf(tmp_path / "in" / "night.edf")
    recording = edf.read(tmp_path / "in" / "night.edf")
    assert [s.name for s in recording.signals] == ["EEG", "Resp"]
    assert [s.rate for s in recording.signals] == [100, 1]
    lacks = np.isnan(recording.signals[0].samples)
    np.testing.assert_array_equal(np.flatnonzero(lacks), np.arange(40, 60))
    (tmp_path / "out").mkdir()
    edf.write(recording, [np.full(300, 12.5), np.full(3, 7.0)], tmp_path / "out")
    after = edf.read(tmp_path / "out" / "night.edf")
    step = 200 / 65535
    np.testing.assert_allclose(after.signals[0].samples[lacks], 12.5, atol=step / 2 + 1e-9)
    np.testing.assert_array_equal(after.signals[0].samples[~lacks], recording.signals[0].samples[~lacks])
    old, new = ((tmp_path / d / "night.edf").read_bytes() for d in ("in", "out"))
    assert len(old) == len(new)
    assert sum(a != b for a, b in zip(old, new, strict=True)) <= 2 * lacks.sum()
    assert before[~lacks].size == 280


def test_an_edf_file_that_lacks_nothing_is_the_same_file(tmp_path):
    write_edf(tmp_path / "in" / "night.edf", missing=slice(0, 0))
    recording = edf.read(tmp_path / "in" / "night.edf")
    (tmp_path / "out").mkdir()
    edf.write(recording, [np.full(300, 12.5), np.full(3, 7.0)], tmp_path / "out")
    assert (tmp_path / "out" / "night.edf").read_bytes() == (tmp_path / "in" / "night.edf").read_bytes()


def test_a_csv_keeps_the_text_of_what_was_measured(tmp_path):
    (tmp_path / "stay.csv").write_text("hour,HR (bpm),Lactate\n0,81.50,\n2,,2.10\n3,NA,1e0\n")
    recording = hourly_csv.read(tmp_path / "stay.csv")
    heart, lactate = recording.signals
    assert (heart.name, heart.unit, lactate.unit, heart.rate) == ("HR", "bpm", "", 1 / 3600)
    np.testing.assert_array_equal(heart.samples, [81.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(lactate.samples, [np.nan, np.nan, 2.1, 1.0])
    (tmp_path / "out").mkdir()
    hourly_csv.write(recording, [np.arange(4) + 70.25, np.full(4, 1.75)], tmp_path / "out")
    expected = "hour,HR (bpm),Lactate\n0,81.50,1.75\n1,71.25,1.75\n2,72.25,2.10\n3,73.25,1e0\n"
    assert (tmp_path / "out" / "stay.csv").read_text() == expected


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("HR,hour\n1,2\n", 'must be "hour" or "time"'),
        ("hour,HR\n0,fast\n", 'row 2 has "fast" for HR'),
        ("hour,HR\n0,inf\n", 'row 2 has "inf" for HR'),
        ("hour,HR\n-1,3\n", 'row 2 has the hour "-1"'),
        ("hour,HR\n0.5,3\n", 'row 2 has the hour "0.5"'),
        ("hour,HR\n0,3\n0,4\n", "two rows of the same hour"),
        ("hour,HR\n0,3,4\n", "row 2 has 3 cells"),
        ("hour,HR,HR\n0,3,4\n", "two columns of the same name"),
        ("hour,HR\n", "no rows"),
        ("", "the first column"),
    ],
)
def test_a_csv_that_is_not_one_of_hours_is_refused(tmp_path, text, sentence):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match="x.csv") as error:
        hourly_csv.read(tmp_path / "x.csv")
    assert sentence in str(error.value) and "\n" not in str(error.value)


def recording(rate=100.0, seconds=5.0, names=("I", "II", "V1"), unit="mV", lacking=slice(0, 0)):
    t = (np.arange(round(seconds * rate)) + 0.5) / rate
    signals = []
    for k, name in enumerate(names):
        x = np.sin(2 * np.pi * (1 + k) * t) + k
        x[lacking] = np.nan
        signals.append(Signal(name, unit, rate, x))
    return Recording("some.hea", tuple(signals), None)


def test_windows_follow_each_other_and_the_last_is_unobserved_beyond_the_end():
    given = recording(seconds=5.0, lacking=slice(30, 70))
    windows = WindowGrid.from_schema(SCHEMA).cut_windows(given)
    assert windows.shape == (3, 3, 20, 10) and windows.dtype == np.float32
    whole = windows.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_array_equal(whole[:, :500], np.float32([s.samples for s in given.signals]))
    assert np.isnan(whole[:, 500:]).all()
    completed = np.where(np.isnan(windows), 42.0, -1.0)
    for signal, filled in zip(
        given.signals, WindowGrid.from_schema(SCHEMA).fill_signals(given, completed), strict=True
    ):
        lacks = np.isnan(signal.samples)
        np.testing.assert_array_equal(filled[~lacks], signal.samples[~lacks])
        assert (filled[lacks] == 42).all() and lacks.sum() == 40


def test_leads_are_found_by_name_whatever_their_order_and_case():
    given = recording(names=("v1", "i"))
    windows = WindowGrid.from_schema(SCHEMA).cut_windows(given)
    np.testing.assert_array_equal(windows[0, 2].reshape(-1), np.float32(given.signals[0].samples[:200]))
    assert np.isnan(windows[:, 1]).all() and WindowGrid.from_schema(SCHEMA).absent_modalities(given) == ["II"]
    eog = {**SCHEMA, "modalities": [{"name": "EOG", "unit": "uV", "samples_per_patch": 10}]}
    assert WindowGrid.from_schema(eog).find_channels(recording(names=("EOG horizontal",), unit="µV")) == {
        0: 0
    }


@pytest.mark.parametrize("rate, tolerance", [(500.0, 0.01), (250.0, 0.03), (50.0, 0.03)])
def test_other_rates_are_resampled_when_asked_and_refused_with_both_rates_else(rate, tolerance):
    given = recording(rate=rate, seconds=4.0)
    with pytest.raises(DataError, match=f"{rate:g} Hz.*100 Hz"):
        WindowGrid.from_schema(SCHEMA).cut_windows(given)
    windows = WindowGrid.from_schema(SCHEMA, resample=True).cut_windows(given)
    assert windows.shape == (2, 3, 20, 10)
    expected = np.stack([s.samples for s in recording(rate=100.0, seconds=4.0).signals])
    found = windows.transpose(1, 0, 2, 3).reshape(3, -1)
    inside = slice(2, -2)
    np.testing.assert_allclose(found[0, inside], expected[0, inside], atol=tolerance)
    constant = Signal("I", "mV", rate, np.full(round(4 * rate), 0.7))
    there = (
        WindowGrid.from_schema(SCHEMA, resample=True)
        .cut_windows(Recording("c", (constant,), None))[:, 0]
        .reshape(-1)
    )
    np.testing.assert_allclose(there[inside], 0.7, rtol=1e-6)
    lacking = recording(rate=rate, seconds=4.0, lacking=slice(round(rate), round(2 * rate)))
    back = WindowGrid.from_schema(SCHEMA, resample=True).fill_signals(lacking, windows)
    for old, new, truth in zip(lacking.signals, back, given.signals, strict=True):
        seen = ~np.isnan(old.samples)
        np.testing.assert_array_equal(new[seen], old.samples[seen])
        np.testing.assert_allclose(new[~seen], truth.samples[~seen], atol=5 * tolerance)


def test_what_was_not_observed_is_not_either_at_another_rate():
    lacking = recording(rate=500.0, seconds=2.0, lacking=slice(500, 750))
    windows = WindowGrid.from_schema(SCHEMA, resample=True).cut_windows(lacking)[:, 0].reshape(-1)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(windows)), np.arange(100, 150))


@pytest.mark.parametrize(
    "given, sentence",
    [
        (recording(unit="uV"), 'in "uV", but the model expects mV'),
        (recording(names=("A", "B")), "no channel that the model knows: it has A, B, known are I, II, V1"),
        (recording(names=("I", "X9")), "has X9, which the model does not know"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(given, sentence):
    with pytest.raises(DataError) as error:
        WindowGrid.from_schema(SCHEMA).cut_windows(given)
    assert sentence in str(error.value) and "some.hea" in str(error.value)


def test_unknown_channels_are_left_alone_when_asked():
    given = recording(names=("I", "X9"), lacking=slice(0, 10))
    grid = WindowGrid.from_schema(SCHEMA, keep_unknown=True)
    filled = grid.fill_signals(given, np.ones_like(grid.cut_windows(given)))
    assert (filled[0][:10] == 1).all() and np.isnan(filled[1][:10]).all()


def test_files_are_found_by_kind(tmp_path):
    write_wfdb(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.csv").write_text("hour,HR\n0,1\n")
    (tmp_path / "b" / "notes.txt").write_text("no")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "y.csv").write_text("hour,HR\n0,1\n")
    assert [f.name for f in find_recordings(tmp_path)] == ["r1.hea", "x.csv"]
    for name in ("r1", "r1.dat", "r1.hea"):
        assert find_recordings(tmp_path / "a" / name) == [tmp_path / "a" / "r1.hea"]
    assert format_of(tmp_path / "X.EDF") is edf
    (tmp_path / "empty").mkdir()
    for path, sentence in [
        (tmp_path / "empty", "contains no file"),
        (tmp_path / "gone", "there is no"),
        (tmp_path / "b" / "notes.txt", "has no supported format"),
    ]:
        with pytest.raises(DataError, match=sentence):
            find_recordings(path)


def test_damaged_files_give_one_sentence(tmp_path):
    write_wfdb(tmp_path / "cut")
    (tmp_path / "cut" / "r1.dat").write_bytes(b"\0" * 100)
    write_edf(tmp_path / "night.edf")
    (tmp_path / "night.edf").write_bytes((tmp_path / "night.edf").read_bytes()[:-10])
    (tmp_path / "not.edf").write_text("hello")
    (tmp_path / "not.hea").write_text("hello")
    (tmp_path / "not.csv").write_bytes(b"\xff\xfe\x00")
    for file in [tmp_path / "cut" / "r1.hea", *sorted(tmp_path.glob("*.*"))]:
        with pytest.raises(DataError, match=file.name) as error:
            format_of(file).read(file)
        assert "\n" not in str(error.value)
