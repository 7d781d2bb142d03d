"""Records are read in any format and layout, in stretches, with the samples that the wfdb package reads."""

import numpy as np
import pytest
import wfdb

from data_partitions.errors import DataError
from data_partitions.recordings import blocks, open_recording, wfdb_signal_file
from data_partitions.recordings.wfdb_samples import SAMPLE_FORMATS
from tests.helpers.arrays_as_recordings import read_array
from tests.helpers.wfdb_files import draw_samples, write_record


def read_all(recording):
    return [recording.read(i, 0, channel.samples) for i, channel in enumerate(recording.channels)]


def expected_samples(header):
    record = wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
    return record.e_p_signal


def assert_agrees_with_wfdb(header):
    recording = open_recording(header)
    for samples, expected in zip(read_all(recording), expected_samples(header), strict=True):
        np.testing.assert_array_equal(samples, expected)
    return recording


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(wfdb_signal_file, "BLOCK_NUMBERS", 40)
    assert blocks.BLOCK_NUMBERS > 40


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("form", ["16", "61", "160", "80", "8", "32", "24", "212", "310", "311"])
@pytest.mark.parametrize("counts", [(1, 1), (1,), (3, 1, 2)])
def test_all_formats_agree_with_wfdb(tmp_path, form, counts):
    rng = np.random.default_rng(1)
    frames = 101
    size = 300 * frames
    content = rng.integers(0, 256, size, np.uint8)
    if form == "311":
        content[3::4] &= 0x3F  # wfdb does not ignore the unused bits
    (tmp_path / "a.dat").write_bytes(content.tobytes())
    lines = [f"a.dat {form}x{count} 200(3)/mV 0 0 5 0 0 s{k}" for k, count in enumerate(counts)]
    (tmp_path / "a.hea").write_text("\n".join([f"a {len(counts)} 250 {frames}", *lines]) + "\n")
    recording = assert_agrees_with_wfdb(tmp_path / "a.hea")
    assert [c.rate for c in recording.channels] == [250 * count for count in counts]
    whole = read_all(recording)
    for channel, samples in enumerate(whole):
        for first, last in [(0, 1), (7, 60), (len(samples) - 3, len(samples) + 5), (-4, 9), (-9, -2), (5, 5)]:
            part = recording.read(channel, first, last)
            np.testing.assert_array_equal(part, read_array(samples, first, last))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("form", ["508", "516", "524"])
def test_compressed_formats_agree_with_wfdb(tmp_path, form):
    samples = np.random.default_rng(2).integers(-100, 100, (500, 3))
    samples[20:40, 1] = -(1 << (int(form) - 501))
    wfdb.wrsamp(
        "a", 100, ["mV"] * 3, ["x", "y", "z"], d_signal=samples, fmt=[form] * 3, adc_gain=[200.0] * 3,
        baseline=[0] * 3, write_dir=str(tmp_path),
    )  # fmt: skip
    recording = assert_agrees_with_wfdb(tmp_path / "a.hea")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(recording.read(1, 0, 500))), np.arange(20, 40))


@pytest.mark.parametrize("form", SAMPLE_FORMATS)
def test_replaced_samples_are_read_again_and_no_other_bit_changes(form):
    layout = SAMPLE_FORMATS[form]
    rng = np.random.default_rng(4)
    for count in (1, 2, 3, 7, 30):
        content = rng.integers(0, 256, layout.bytes_of(count), np.uint8)
        before = layout.decode(content, count)
        at = np.flatnonzero(rng.random(count) < 0.5)
        numbers = rng.integers(layout.missing, -layout.missing, len(at))
        changed = layout.replace(content, at, numbers)
        expected = before.copy()
        expected[at] = numbers
        np.testing.assert_array_equal(layout.decode(changed, count), expected)
        np.testing.assert_array_equal(layout.replace(changed, at, before[at]), content)
        assert layout.samples_of(len(content)) >= count
        assert layout.bytes_of(layout.samples_of(len(content))) == len(content)


def test_skew_aligns_signals(tmp_path):
    samples = draw_samples()
    late = samples.copy()
    late[:, 1] = np.roll(samples[:, 1], 20)
    aligned = open_recording(write_record(tmp_path, "aligned", samples))
    skewed = assert_agrees_with_wfdb(write_record(tmp_path, "skewed", late, forms=["16", "16:20", "16"]))
    np.testing.assert_array_equal(skewed.read(1, 0, 480), aligned.read(1, 0, 480))
    assert np.isnan(skewed.read(1, 480, 500)).all()
    assert "skew" in skewed.notes[0]


def test_unusual_headers_do_no_harm(tmp_path):
    samples = draw_samples()
    expected = read_all(open_recording(write_record(tmp_path, "plain", samples)))
    unusual = {
        "unnamed": dict(names=["", "", ""]),
        "renamed": dict(first="other 3 100 500"),
        "no_length": dict(first="r 3 100"),
        "cinc": dict(first="r 3 100 500 05-Feb-2020 11:39:16", tail=["#Age: 74", "#Klinik: München"]),
        "odd_date": dict(first="r 3 100 500 12.30 yesterday"),
        "latin": dict(names=["I", "Käfig", "V1"], encoding="latin-1"),
        "utf8": dict(names=["I", "Käfig Å\u2028", "V1"]),
        "doubled": dict(names=["I", "I", "I"]),
        "matlab": dict(forms=["16+24"] * 3, file="matlab.mat", head=bytes(24)),
    }
    for name, options in unusual.items():
        recording = open_recording(write_record(tmp_path, name, samples, **options))
        for got, right in zip(read_all(recording), expected, strict=True):
            np.testing.assert_array_equal(got, right)
        assert "\n" not in "".join(recording.notes)
    assert [c.name for c in open_recording(tmp_path / "unnamed.hea").channels] == [
        "signal 0", "signal 1", "signal 2",
    ]  # fmt: skip
    assert open_recording(tmp_path / "latin.hea").channels[1].name == "Käfig"
    assert str(open_recording(tmp_path / "cinc.hea").start) == "2020-02-05 11:39:16"
    odd = open_recording(tmp_path / "odd_date.hea")
    assert odd.start is None and "no readable date and time" in odd.notes[0]


def write_segments(folder, layout):
    """Write a record of three segments and a gap; the second has other signals if the layout is variable."""
    samples = draw_samples(seconds=3)
    names = ["I", "II", "V1"]
    other = ["V1", "I", "V9"] if layout == "variable" else names
    write_record(folder, "s1", samples[:100], names=names)
    write_record(folder, "s2", samples[100:200], names=other)
    write_record(folder, "s3", samples[200:], names=names)
    lines = ["s1 100", "~ 50", "s2 100", "s3 100"]
    if layout == "variable":
        (folder / "l.hea").write_text(
            "l 4 100 0\n" + "".join(f"~ 16 1000(0)/mV 0 0 0 0 0 {name}\n" for name in [*names, "V9"])
        )
        lines.insert(0, "l 0")
    signals = 4 if layout == "variable" else 3
    (folder / "m.hea").write_text("\n".join([f"m/{len(lines)} {signals} 100 350", *lines]) + "\n")
    return folder / "m.hea", samples / 1000


@pytest.mark.parametrize("layout", ["fixed", "variable"])
def test_segments_are_joined_and_gaps_are_missing(tmp_path, layout):
    header, samples = write_segments(tmp_path, layout)
    recording = open_recording(header)
    first = recording.read(0, 0, 350)
    np.testing.assert_array_equal(first[:100], samples[:100, 0])
    assert np.isnan(first[100:150]).all()
    second = np.full(100, np.nan) if layout == "variable" else samples[100:200, 0]
    np.testing.assert_array_equal(first[150:250], second)
    np.testing.assert_array_equal(first[250:], samples[200:, 0])
    np.testing.assert_array_equal(recording.read(0, 90, 260), first[90:260])
    assert "Gaps between its segments" in recording.notes[-1]
    if layout == "fixed":
        return  # wfdb does not read gaps in it
    record = wfdb.rdrecord(str(header.with_suffix("")))
    for i, channel in enumerate(recording.channels):
        np.testing.assert_array_equal(
            recording.read(i, 0, 350), record.p_signal[:, record.sig_name.index(channel.name)]
        )


def test_wrong_records_are_refused_in_one_sentence(tmp_path):
    samples = draw_samples()
    cases = {
        "cut": (dict(), "cut.dat ends after 2 of the 500 samples a signal that cut.hea states"),
        "absent": (dict(first="r 3 100 500", file="b.dat"), "b.dat cannot be read (No such file"),
        "renamed": (dict(file="old.dat"), "if renamed.dat is meant, correct its name in the header"),
        "format": (dict(forms=["17"] * 3), "format 17, which is unknown"),
        "folder": (dict(file="sub"), "cannot be read"),
        "none": (dict(names=[], first="r 0 100 500"), "describes no signal"),
        "rate": (dict(first="r 3 0 500"), "its rate is 0 Hz"),
        "fewer": (dict(first="r 4 100 500"), "gives 4 as the number of signals, but the others describe 3"),
        "text": (dict(gain="much"), "does not describe a signal"),
    }
    for name, (options, sentence) in cases.items():
        header = write_record(tmp_path, name, samples, **options)
        if name == "cut":
            (tmp_path / "cut.dat").write_bytes(bytes(16))
        if name == "absent":
            (tmp_path / "b.dat").unlink()
        if name == "renamed":
            (tmp_path / "old.dat").rename(tmp_path / "renamed.dat")
        if name == "folder":
            header.write_text(header.read_text().replace("sub ", "../sub "))
            sentence = "a name without folders"
        with pytest.raises(DataError) as error:
            open_recording(header)
        assert sentence in str(error.value) and "\n" not in str(error.value)


def test_without_gains_samples_are_the_numbers_of_the_file(tmp_path):
    samples = draw_samples()
    header = write_record(tmp_path, "r", samples, gain="1716(6)/mV")
    digital = read_all(open_recording(header, gains="none"))
    physical = read_all(open_recording(header))
    np.testing.assert_array_equal(digital[0], samples[:, 0])
    np.testing.assert_allclose(physical[0], (samples[:, 0] - 6) / 1716)
    np.testing.assert_array_equal(np.isnan(digital[1]), np.isnan(physical[1]))
    (tmp_path / "m.hea").write_text("m/1 3 100 500\nr 500\n")
    np.testing.assert_array_equal(read_all(open_recording(tmp_path / "m.hea", gains="none")), digital)
