"""Arrays are read a stretch at a time whatever their axes are; only missing samples of a copy are filled."""

import numpy as np
import pytest

from data_partitions.errors import DataError
from data_partitions.recordings import (
    array_output,
    array_recording,
    create_output,
    list_records,
    open_recording,
)
from tests.helpers.completion import complete


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(array_recording, "BLOCK_NUMBERS", 50)
    monkeypatch.setattr(array_output, "BLOCK_NUMBERS", 33)


def draw(dtype):
    """Draw samples `(record, time, channel)`, of which some are missing in floating point."""
    samples = (1000 * np.random.default_rng(1).normal(size=(4, 70, 3))).astype(dtype)
    if np.dtype(dtype).kind == "f":
        samples[1, 10:20, 2], samples[1, 30, 0] = np.nan, np.inf
    return samples


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i2", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "axes", ["record time channel", "record channel time", "time channel", "channel time", "time"]
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", "compressed"])
def test_stretches_of_all_layouts(tmp_path, dtype, order, axes, suffix):
    samples = draw(dtype)
    expected = np.where(np.isfinite(samples[1]), samples[1], np.nan).astype(float)
    words = axes.split()
    array = samples if "record" in words else samples[1]
    if "channel" not in words:
        array, expected = array[..., 0], expected[:, :1]
    elif words.index("channel") < words.index("time"):
        array = array.swapaxes(-1, -2)
    array = np.asarray(array, order=order)
    file = tmp_path / ("a.npy" if suffix == ".npy" else "a.npz")
    if suffix == ".npy":
        np.save(file, array)
    else:
        save = np.savez if suffix == ".npz" else np.savez_compressed
        save(file, x=array, ids=np.array(["p", "q", "r", "s"]), leads=np.array(["I", "II", "III"]))
    options = dict(rate=100, axes=axes)
    if suffix != ".npy":
        options |= dict(values="x", records="ids", names="leads" if "channel" in words else "")
    names = list_records(file, **options)
    if "record" in words:
        assert names == (["0", "1", "2", "3"] if suffix == ".npy" else ["p", "q", "r", "s"])
        options["record"] = names[1]
    else:
        assert names == [""]
    recording = open_recording(file, **options)
    assert [c.samples for c in recording.channels] == [70] * expected.shape[1]
    if suffix != ".npy" and "channel" in words:
        assert [c.name for c in recording.channels] == ["I", "II", "III"]
    for channel in range(expected.shape[1]):
        np.testing.assert_array_equal(recording.read(channel, 0, 70), expected[:, channel])
        part = recording.read(channel, -5, 12)
        np.testing.assert_array_equal(part[5:], expected[:12, channel])
        assert np.isnan(part[:5]).all() and np.isnan(recording.read(channel, 68, 80)[2:]).all()


@pytest.mark.parametrize("axes", ["time channel", "channel time"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", "compressed"])
def test_only_missing_samples_change(tmp_path, axes, suffix):
    samples = draw("f4")[1]
    array = samples if axes == "time channel" else samples.T
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / ("a.npy" if suffix == ".npy" else "a.npz")
    if suffix == ".npy":
        np.save(file, array)
    else:
        save = np.savez if suffix == ".npz" else np.savez_compressed
        save(file, x=array, other=np.arange(5), text=np.array(["é"]))
    options = dict(rate=100, axes=axes, values="" if suffix == ".npy" else "x")
    new = complete(file, tmp_path / "out", lambda _, at: np.nan if at == 12 else at + 0.5, 20, **options)
    copy = np.load(new)
    if suffix != ".npy":
        np.testing.assert_array_equal(copy["other"], np.arange(5))
        np.testing.assert_array_equal(copy["text"], ["é"])
        copy = copy["x"]
    after = copy if axes == "time channel" else copy.T
    expected = samples.copy()
    at = np.arange(10, 20)
    expected[at, 2] = np.where(at == 12, np.nan, at + 0.5)
    expected[30, 0] = 30.5
    np.testing.assert_array_equal(after, expected)
    if suffix == ".npy":
        changed = [a != b for a, b in zip(file.read_bytes(), new.read_bytes(), strict=True)]
        assert sum(changed) <= 4 * 10


def test_whole_numbers_have_codes_for_missing_samples(tmp_path):
    samples = draw("<i2")[1]
    samples[5, 1], samples[6, 1] = -32768, -999
    np.save(tmp_path / "a.npy", samples)
    (tmp_path / "out").mkdir()
    recording = open_recording(tmp_path / "a.npy", rate=100, missing=["", "NA", "-32768", "-999"])
    assert np.flatnonzero(np.isnan(recording.read(1, 0, 70))).tolist() == [5, 6]
    output = create_output(recording, tmp_path / "out")
    output.fill(1, 0, np.full(70, 1e9))
    output.fill(1, 6, np.full(1, 7.6))
    output.close()
    expected = samples.copy()
    expected[5, 1], expected[6, 1] = 32767, 8
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "a.npy"), expected)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (dict(), "does not state the rate"),
        (dict(rate=1, axes="time"), "does not have the axes time"),
        (dict(rate=1, axes="time time channel"), "does not have the axes"),
        (dict(rate=1, axes="record time channel", record="9"), "has no recording 9: it has 0, 1, 2, 3"),
        (dict(rate=1, axes="record time channel", record="0", channel_names=["a"]), "has 3 channels, but 1"),
        (dict(rate=1, values="y"), "has no array y: it has x, ids"),
        (dict(rate=1), "has the arrays x, ids: give the name of the samples"),
        (
            dict(rate=1, values="o"),
            "cannot be read as arrays of numbers (Array can't be memory-mapped: Python objects",
        ),
        (dict(rate=1, values="ids"), "has an array of <U1, expected numbers"),
        (dict(rate=1, axes="record time channel", values="x", records="ids"), "4 recordings, but 3 ids"),
    ],
)
def test_wrong_arrays_and_options_are_refused_in_one_sentence(tmp_path, options, sentence):
    array = draw("f4")
    file = tmp_path / ("a.npz" if {"values"} & set(options) or options == dict(rate=1) else "a.npy")
    if file.suffix == ".npy":
        np.save(file, array)
    else:
        objects = {"o": np.array([{}, 1], object)} if options.get("values") == "o" else {}
        np.savez(file, x=array, ids=np.array(["a", "b", "c", "c"]), **objects)
    with pytest.raises(DataError, match=file.name) as error:
        open_recording(file, **options)
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 not an archive", b"\x93NUMPY\1\0\xff\xff{"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, content):
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read as arrays") as error:
            open_recording(tmp_path / name, rate=100)
        assert "\n" not in str(error.value)


def test_several_recordings_in_a_file_are_not_completed(tmp_path):
    np.save(tmp_path / "a.npy", draw("f4"))
    recording = open_recording(tmp_path / "a.npy", rate=1, axes="record time channel", record="1")
    with pytest.raises(DataError, match="can be read but not completed"):
        create_output(recording, tmp_path)


def test_recordings_of_ptb_xl_in_one_archive(real):
    file = real / "zscored100_part.npz"
    options = dict(
        rate=100, axes="record time channel", values="x_milli", records="ecg_id", names="lead", missing=()
    )
    names = list_records(file, **options)
    with np.load(file) as arrays:
        expected, leads = arrays["x_milli"], arrays["lead"].tolist()
    assert len(names) == 1441
    for position in (0, 700, 1440):
        recording = open_recording(file, record=names[position], **options)
        assert [c.name for c in recording.channels] == leads
        np.testing.assert_array_equal(recording.read(3, 100, 900), expected[position, 100:900, 3])


@pytest.mark.parametrize(
    "dtype, value, expected",
    [
        ("<i2", 0.3, 1),
        ("<i2", -0.3, 1),
        ("<i2", -1.3, -2),
        ("<u1", -5.0, 1),
        ("<f2", 1e6, 65504),
        ("<f2", -1e6, -65504),
    ],
)
def test_a_filled_sample_is_never_one_that_stands_for_a_missing_one(tmp_path, dtype, value, expected):
    samples = np.array([[5], [0], [7]], dtype)
    np.save(tmp_path / "a.npy", samples)
    recording = open_recording(tmp_path / "a.npy", rate=1, missing=("0", "-1"))
    (tmp_path / "out").mkdir()
    output = create_output(recording, tmp_path / "out")
    output.fill(0, 0, np.full(3, value))
    output.close()
    assert np.load(tmp_path / "out" / "a.npy").ravel().tolist() == [5, expected, 7]
