"""Native files are written as they were read, except for samples that were not observed."""

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
    """Write a record whose second lead misses a stretch; return its digital samples `(time, lead)`."""
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
def test_a_written_record_has_its_header_and_observed_samples(tmp_path, fmt):
    before = write_wfdb(tmp_path / "in", fmt=fmt)
    recording = wfdb_record.read(tmp_path / "in" / "r1.hea")
    missing = np.isnan(recording.signals[1].samples)
    assert missing.sum() == 100 and not np.isnan(recording.signals[0].samples).any()
    filled = [np.where(np.isnan(s.samples), 0.1234, 99.0) for s in recording.signals]
    (tmp_path / "out").mkdir()
    wfdb_record.write(recording, filled, tmp_path / "out")
    after = wfdb.rdrecord(str(tmp_path / "out" / "r1"), physical=False)
    np.testing.assert_array_equal(after.d_signal[:, [0, 2]], before[:, [0, 2]])
    np.testing.assert_array_equal(after.d_signal[~missing, 1], before[~missing, 1])
    assert (after.d_signal[missing, 1] == round(0.1234 * 1000 + 10)).all()
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


def test_a_complete_record_is_copied_byte_by_byte(tmp_path):
    write_wfdb(tmp_path / "in", missingness=False)
    recording = wfdb_record.read(tmp_path / "in" / "r1.hea")
    (tmp_path / "out").mkdir()
    wfdb_record.write(recording, [s.samples for s in recording.signals], tmp_path / "out")
    for name in ("r1.hea", "r1.dat"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()


def test_values_outside_the_range_of_the_format_are_clipped(tmp_path):
    write_wfdb(tmp_path / "in", fmt="212")
    recording = wfdb_record.read(tmp_path / "in" / "r1.hea")
    (tmp_path / "out").mkdir()
    wfdb_record.write(recording, [np.full(500, 1e6)] * 3, tmp_path / "out")
    assert wfdb.rdrecord(str(tmp_path / "out" / "r1"), physical=False).d_signal[150, 1] == 2**11 - 1


def write_edf(file, missing=slice(40, 60)):
    """Write two channels of different rates and an annotation; return the samples of the first with a gap."""
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


def test_an_edf_file_changes_only_where_nothing_was_observed(tmp_path):
    before = write_edf(tmp_path / "in" / "night.edf")
    recording = edf.read(tmp_path / "in" / "night.edf")
    assert [s.name for s in recording.signals] == ["EEG", "Resp"]
    assert [s.rate for s in recording.signals] == [100, 1]
    missing = np.isnan(recording.signals[0].samples)
    np.testing.assert_array_equal(np.flatnonzero(missing), np.arange(40, 60))
    (tmp_path / "out").mkdir()
    edf.write(recording, [np.full(300, 12.5), np.full(3, 7.0)], tmp_path / "out")
    after = edf.read(tmp_path / "out" / "night.edf")
    step = 200 / 65535
    np.testing.assert_allclose(after.signals[0].samples[missing], 12.5, atol=step / 2 + 1e-9)
    np.testing.assert_array_equal(after.signals[0].samples[~missing], recording.signals[0].samples[~missing])
    old, new = ((tmp_path / d / "night.edf").read_bytes() for d in ("in", "out"))
    assert len(old) == len(new)
    assert sum(a != b for a, b in zip(old, new, strict=True)) <= 2 * missing.sum()
    assert before[~missing].size == 280


def test_a_complete_edf_file_is_not_changed(tmp_path):
    write_edf(tmp_path / "in" / "night.edf", missing=slice(0, 0))
    recording = edf.read(tmp_path / "in" / "night.edf")
    (tmp_path / "out").mkdir()
    edf.write(recording, [np.full(300, 12.5), np.full(3, 7.0)], tmp_path / "out")
    assert (tmp_path / "out" / "night.edf").read_bytes() == (tmp_path / "in" / "night.edf").read_bytes()


def test_a_csv_retains_the_text_of_measured_values(tmp_path):
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
def test_an_invalid_csv_is_refused(tmp_path, text, sentence):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match="x.csv") as error:
        hourly_csv.read(tmp_path / "x.csv")
    assert sentence in str(error.value) and "\n" not in str(error.value)


def make_recording(rate=100.0, seconds=5.0, names=("I", "II", "V1"), unit="mV", missing=slice(0, 0)):
    t = (np.arange(round(seconds * rate)) + 0.5) / rate
    signals = []
    for k, name in enumerate(names):
        x = np.sin(2 * np.pi * (1 + k) * t) + k
        x[missing] = np.nan
        signals.append(Signal(name, unit, rate, x))
    return Recording("some.hea", tuple(signals), None)


def test_windows_are_consecutive_and_unobserved_after_the_end_of_the_recording():
    recording = make_recording(seconds=5.0, missing=slice(30, 70))
    windows = WindowGrid.from_schema(SCHEMA).cut_windows(recording)
    assert windows.shape == (3, 3, 20, 10) and windows.dtype == np.float32
    joined = windows.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_array_equal(joined[:, :500], np.float32([s.samples for s in recording.signals]))
    assert np.isnan(joined[:, 500:]).all()
    completed = np.where(np.isnan(windows), 42.0, -1.0)
    for signal, filled in zip(
        recording.signals, WindowGrid.from_schema(SCHEMA).fill_signals(recording, completed), strict=True
    ):
        missing = np.isnan(signal.samples)
        np.testing.assert_array_equal(filled[~missing], signal.samples[~missing])
        assert (filled[missing] == 42).all() and missing.sum() == 40


def test_leads_are_found_by_name_in_any_order_and_case():
    recording = make_recording(names=("v1", "i"))
    windows = WindowGrid.from_schema(SCHEMA).cut_windows(recording)
    np.testing.assert_array_equal(windows[0, 2].reshape(-1), np.float32(recording.signals[0].samples[:200]))
    assert np.isnan(windows[:, 1]).all()
    assert WindowGrid.from_schema(SCHEMA).absent_modalities(recording) == ["II"]
    eog = {**SCHEMA, "modalities": [{"name": "EOG", "unit": "uV", "samples_per_patch": 10}]}
    horizontal = make_recording(names=("EOG horizontal",), unit="µV")
    assert WindowGrid.from_schema(eog).find_channels(horizontal) == {0: 0}


@pytest.mark.parametrize("rate, tolerance", [(500.0, 0.01), (250.0, 0.03), (50.0, 0.03)])
def test_other_rates_are_resampled_on_request_and_otherwise_refused(rate, tolerance):
    recording = make_recording(rate=rate, seconds=4.0)
    with pytest.raises(DataError, match=f"{rate:g} Hz.*100 Hz"):
        WindowGrid.from_schema(SCHEMA).cut_windows(recording)
    windows = WindowGrid.from_schema(SCHEMA, resample=True).cut_windows(recording)
    assert windows.shape == (2, 3, 20, 10)
    expected = np.stack([s.samples for s in make_recording(rate=100.0, seconds=4.0).signals])
    resampled = windows.transpose(1, 0, 2, 3).reshape(3, -1)
    inside = slice(2, -2)
    np.testing.assert_allclose(resampled[0, inside], expected[0, inside], atol=tolerance)
    constant = Signal("I", "mV", rate, np.full(round(4 * rate), 0.7))
    resampled_constant = (
        WindowGrid.from_schema(SCHEMA, resample=True)
        .cut_windows(Recording("c", (constant,), None))[:, 0]
        .reshape(-1)
    )
    np.testing.assert_allclose(resampled_constant[inside], 0.7, rtol=1e-6)
    incomplete = make_recording(rate=rate, seconds=4.0, missing=slice(round(rate), round(2 * rate)))
    filled = WindowGrid.from_schema(SCHEMA, resample=True).fill_signals(incomplete, windows)
    for old, new, truth in zip(incomplete.signals, filled, recording.signals, strict=True):
        observed = ~np.isnan(old.samples)
        np.testing.assert_array_equal(new[observed], old.samples[observed])
        np.testing.assert_allclose(new[~observed], truth.samples[~observed], atol=5 * tolerance)


def test_unobserved_samples_remain_unobserved_at_another_rate():
    incomplete = make_recording(rate=500.0, seconds=2.0, missing=slice(500, 750))
    windows = WindowGrid.from_schema(SCHEMA, resample=True).cut_windows(incomplete)[:, 0].reshape(-1)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(windows)), np.arange(100, 150))


@pytest.mark.parametrize(
    "recording, sentence",
    [
        (make_recording(unit="uV"), 'in "uV", but the model expects mV'),
        (
            make_recording(names=("A", "B")),
            "no channel that the model knows: it has A, B, known are I, II, V1",
        ),
        (make_recording(names=("I", "X9")), "has X9, which the model does not know"),
    ],
)
def test_recordings_that_do_not_fit_the_model_are_refused_in_one_sentence(recording, sentence):
    with pytest.raises(DataError) as error:
        WindowGrid.from_schema(SCHEMA).cut_windows(recording)
    assert sentence in str(error.value) and "some.hea" in str(error.value)


def test_unknown_channels_are_not_changed_on_request():
    recording = make_recording(names=("I", "X9"), missing=slice(0, 10))
    grid = WindowGrid.from_schema(SCHEMA, keep_unknown=True)
    filled = grid.fill_signals(recording, np.ones_like(grid.cut_windows(recording)))
    assert (filled[0][:10] == 1).all() and np.isnan(filled[1][:10]).all()


def test_files_are_found_by_their_format(tmp_path):
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
        (tmp_path / "nowhere", "there is no"),
        (tmp_path / "b" / "notes.txt", "has no supported format"),
    ]:
        with pytest.raises(DataError, match=sentence):
            find_recordings(path)


def test_damaged_files_are_refused_in_one_sentence(tmp_path):
    write_wfdb(tmp_path / "cut")
    (tmp_path / "cut" / "r1.dat").write_bytes(b"\0" * 100)
    write_edf(tmp_path / "night.edf")
    (tmp_path / "night.edf").write_bytes((tmp_path / "night.edf").read_bytes()[:700])
    (tmp_path / "not.edf").write_text("hello")
    (tmp_path / "not.hea").write_text("hello")
    (tmp_path / "not.csv").write_bytes(b"\xff\xfe\x00")
    for file in [tmp_path / "cut" / "r1.hea", *sorted(tmp_path.glob("*.*"))]:
        with pytest.raises(DataError, match=file.name) as error:
            format_of(file).read(file)
        assert "\n" not in str(error.value)
