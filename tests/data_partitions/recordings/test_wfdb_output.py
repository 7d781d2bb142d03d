"""A completed record differs from the record in the samples that were missing, and in nothing else."""

import shutil

import numpy as np
import pytest
import wfdb

from data_partitions.errors import DataError
from data_partitions.recordings import create_output, open_recording, wfdb_output, wfdb_signal_file
from tests.helpers.completion import complete
from tests.helpers.wfdb_files import MISSING, draw_samples, write_record


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(wfdb_signal_file, "BLOCK_NUMBERS", 40)
    monkeypatch.setattr(wfdb_output, "BLOCK_NUMBERS", 33)


@pytest.mark.parametrize("form", ["16", "61", "160", "80", "32", "24", "212", "310", "311"])
@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 1, 2)])
def test_missing_samples_are_written_in_all_formats(tmp_path, form, counts):
    layout = wfdb_signal_file.SAMPLE_FORMATS[form]
    rng = np.random.default_rng(1)
    frames, width = 101, sum(counts)
    samples = rng.integers(-100, 100, frames * width)
    missing = rng.random(frames * width) < 0.2
    missing[0] = True
    samples[missing] = layout.missing
    content = rng.integers(0, 256, layout.bytes_of(len(samples)), np.uint8)
    content = layout.replace(content, np.arange(len(samples)), samples)
    (tmp_path / "a.dat").write_bytes(b"head" + content.tobytes() + b"tail")
    starts = np.cumsum([0, *counts])
    rows = samples.reshape(frames, width)
    lines = [f"a 3 250 {frames}"]
    for k, count in enumerate(counts):
        part = rows[:, starts[k] : starts[k + 1]]
        lines.append(f"a.dat {form}x{count}+4 100(3)/mV 0 0 {part[0, 0]} {int(part.sum()) % 65536} 0 s{k}")
    (tmp_path / "a.hea").write_text("\n".join(lines) + "\n")
    copy = complete(tmp_path / "a.hea", tmp_path / "out", lambda channel, at: 0.2 + 0.1 * channel)
    after = (tmp_path / "out" / "a.dat").read_bytes()
    assert after[:4] == b"head" and after[-4:] == b"tail"
    digital = layout.decode(np.frombuffer(after[4:-4], np.uint8), len(samples))
    np.testing.assert_array_equal(digital[~missing], samples[~missing])
    channel_of = np.repeat(np.arange(3), counts)[np.arange(len(samples)) % width]
    np.testing.assert_array_equal(digital[missing], (23 + 10 * channel_of)[missing])
    back = layout.replace(np.frombuffer(after[4:-4], np.uint8), np.flatnonzero(missing), samples[missing])
    np.testing.assert_array_equal(back, content)
    assert_header_is_right(tmp_path / "a.hea", copy)


def assert_header_is_right(before, after):
    """The checksums and initial values are those of the samples, and all other text is as it was."""
    header, record = wfdb.rdheader(str(after.with_suffix(""))), open_recording(after)
    digital = [record.read_digital(i, 0, channel.samples) for i, channel in enumerate(record.channels)]
    assert [c % 65536 for c in header.checksum] == [samples.sum(dtype=int) % 65536 for samples in digital]
    assert header.init_value == [samples[0] for samples in digital]
    old, new = (file.read_bytes().split(b"\n") for file in (before, after))
    assert len(old) == len(new)
    for a, b in zip(old, new, strict=True):
        if a != b:
            a, b = a.split(), b.split()
            assert a[:5] + a[7:] == b[:5] + b[7:]


def test_the_header_stays_as_it_was(tmp_path):
    samples = draw_samples()
    samples[0, 0] = MISSING
    header = write_record(
        tmp_path,
        "r",
        samples,
        names=["I", "II", "Käfig"],
        first="other/name 3 100 500 05-Feb-2020 11:39:16".replace("/name", ""),
        tail=["#Age: 74", "#Klinik: München  ", "", "# end"],
        gain="1.0000e3(0)/mV",
        encoding="latin-1",
    )
    header.write_bytes(b"# written by hand\r\n" + header.read_bytes().replace(b"\n", b"\r\n"))
    copy = complete(header, tmp_path / "out", lambda channel, at: 0.5)
    assert_header_is_right(header, copy)
    lines = copy.read_bytes().split(b"\r\n")
    assert lines[1] == b"other 3 100 500 05-Feb-2020 11:39:16" and b"M\xfcnchen  " in lines[6]
    assert lines[2].split()[5] == b"500" and lines[4] == header.read_bytes().split(b"\r\n")[4]
    assert (copy.parent / "r.dat").stat().st_size == (tmp_path / "r.dat").stat().st_size


@pytest.mark.parametrize("checksum", ["", "-1", "40000"])
def test_checksums_keep_their_way_of_writing(tmp_path, checksum):
    samples = np.full((10, 1), 5)
    samples[4] = MISSING
    header = write_record(tmp_path, "r", samples, names=["I"])
    line = f"r.dat 16 1000(0)/mV 16 0 5 {checksum} 0 I" if checksum else "r.dat 16 1000(0)/mV"
    header.write_text(f"r 1 100 10\n{line}\n")
    copy = complete(header, tmp_path / "out", lambda channel, at: 0.002)
    before = int(checksum or 0)
    after = (before + 2 - MISSING) % 65536
    after -= 65536 if before < 0 and after > 32767 else 0
    assert copy.read_text() == f"r 1 100 10\n{line}\n".replace(f"5 {checksum} 0", f"5 {after} 0")


def test_a_complete_record_is_copied_byte_by_byte(tmp_path):
    samples = np.abs(draw_samples())
    samples[samples > 1000] = 3
    header = write_record(tmp_path, "r", samples)
    copy = complete(header, tmp_path / "out", lambda channel, at: 0.5)
    for name in ("r.hea", "r.dat"):
        assert (copy.parent / name).read_bytes() == (tmp_path / name).read_bytes()


def test_values_are_clipped_to_the_range_of_the_format(tmp_path):
    header = write_record(tmp_path, "r", draw_samples())
    copy = complete(header, tmp_path / "out", lambda channel, at: 1e6 if at % 2 else -1e6)
    digital = np.fromfile(copy.parent / "r.dat", "<i2").reshape(-1, 3)[100:200, 1]
    np.testing.assert_array_equal(digital, np.tile([-32767, 32767], 50))
    no_value = complete(header, tmp_path / "nan", lambda channel, at: np.nan if at % 2 else np.inf)
    assert (no_value.parent / "r.dat").read_bytes() == (tmp_path / "r.dat").read_bytes()


def test_samples_of_late_signals_are_written_where_they_are_in_the_file(tmp_path):
    samples = draw_samples()
    late = samples.copy()
    late[:, 1] = np.roll(samples[:, 1], 20)
    aligned = write_record(tmp_path, "aligned", samples)
    skewed = write_record(tmp_path, "skewed", late, forms=["16", "16:20", "16"])
    for header in (aligned, skewed):
        copy = complete(header, tmp_path / f"out_{header.stem}", lambda channel, at: at / 1000)
        completed = open_recording(copy).read(1, 0, 480)
        np.testing.assert_array_equal(completed[100:200], np.arange(100, 200) / 1000)
        assert_header_is_right(header, copy)


def test_headers_that_share_samples_are_refused_and_named(tmp_path):
    header = write_record(tmp_path, "r", draw_samples())
    excerpt = tmp_path / "first.hea"
    excerpt.write_text(header.read_text().replace("r 3 100 500", "first 3 100 200"))
    (tmp_path / "out").mkdir()
    for file in (header, excerpt):
        with pytest.raises(DataError) as error:
            create_output(open_recording(file), tmp_path / "out")
        message = str(error.value)
        assert all(name in message for name in ("first.hea", "r.hea", "share the samples in r.dat"))
    assert not list((tmp_path / "out").iterdir())
    excerpt.unlink()
    assert complete(header, tmp_path / "alone", lambda channel, at: 0.1).exists()


@pytest.mark.parametrize("missing", [True, False])
def test_compressed_records_are_copied_or_refused(tmp_path, missing):
    samples = np.random.default_rng(2).integers(-100, 100, (500, 3))
    samples[400:, 1] = MISSING if missing else 5
    wfdb.wrsamp(
        "a", 100, ["mV"] * 3, ["x", "y", "z"], d_signal=samples, fmt=["516"] * 3, adc_gain=[200.0] * 3,
        baseline=[0] * 3, write_dir=str(tmp_path),
    )  # fmt: skip
    if missing:
        with pytest.raises(DataError, match="a.hea: y is in format 516, which can be read but not written"):
            complete(tmp_path / "a.hea", tmp_path / "out", lambda channel, at: 0.5)
        assert not list((tmp_path / "out").iterdir())
    else:
        copy = complete(tmp_path / "a.hea", tmp_path / "out", lambda channel, at: 0.5)
        assert (copy.parent / "a.dat").read_bytes() == (tmp_path / "a.dat").read_bytes()


def test_segments_are_completed_and_their_gaps_stay(tmp_path):
    samples = draw_samples(seconds=3)
    source = tmp_path / "in"
    write_record(source, "s1", samples[:100])
    write_record(source, "s2", samples[100:], names=["V1", "II", "I"])
    layout = "".join(f"~ 16 1000(0)/mV 0 0 0 0 0 {name}\n" for name in ("I", "II", "V1"))
    (source / "l.hea").write_text("l 3 100 0\n" + layout)
    (source / "m.hea").write_text("m/4 3 100 320\nl 0\ns1 100\n~ 20\ns2 200\n")
    copy = complete(source / "m.hea", tmp_path / "out", lambda channel, at: at / 1000)
    assert sorted(file.name for file in copy.parent.iterdir()) == sorted(f.name for f in source.iterdir())
    for name in ("m.hea", "l.hea", "s1.hea", "s1.dat"):
        assert (copy.parent / name).read_bytes() == (source / name).read_bytes()
    completed = open_recording(copy).read(1, 0, 320)
    np.testing.assert_array_equal(completed[120:220], np.arange(120, 220) / 1000)
    np.testing.assert_array_equal(completed[220:], samples[200:, 1] / 1000)
    assert np.isnan(completed[100:120]).all()
    assert_header_is_right(source / "s2.hea", copy.parent / "s2.hea")


def test_a_real_record_is_completed(tmp_path, real):
    header = next((real / "records100").rglob("*.hea"))
    shutil.copyfile(header, tmp_path / header.name)
    digital = np.fromfile(header.with_suffix(".dat"), "<i2").reshape(-1, 12)
    holed = digital.copy()
    holed[300:400, 3] = MISSING
    holed.tofile(tmp_path / f"{header.stem}.dat")
    truth = digital[:, 3] / 1000
    copy = complete(tmp_path / header.name, tmp_path / "out", lambda channel, at: truth[at % 1000])
    np.testing.assert_array_equal(np.fromfile(copy.with_suffix(".dat"), "<i2").reshape(-1, 12), digital)
