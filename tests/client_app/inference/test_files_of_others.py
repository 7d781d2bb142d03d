"""Files as others write them: the right values are filled in, and a bad file never stops the others."""

import json

import numpy as np
import pandas as pd
import pytest

from client_app.inference.recording_windows import PatchReader
from data_partitions.recordings import find_recordings
from tests.helpers.ecg_run import HOLE, LEADS, ecg, hole_error, with_hole
from tests.helpers.edf_files import EdfSignal, write_edf_file
from tests.helpers.wfdb_files import write_record

TOLERANCE = 0.05  # mV


def record(folder, name, **texts):
    """Write a record of four seconds whose lead II has a hole; return its leads."""
    leads = ecg()
    write_record(folder, name, with_hole(leads), **{"names": LEADS, **texts})
    return leads


def read_samples(file):
    return np.frombuffer(file.read_bytes(), "<i2").reshape(-1, len(LEADS))


def edf_signals(leads, hole=True):
    digital = np.round(leads / 10 * 65535).astype(int)
    if hole:
        digital[HOLE, 1] = -32768
    return [EdfSignal(name, digital[:, k]) for k, name in enumerate(LEADS)]


def read_edf(file):
    header = 256 * (1 + len(LEADS))
    raw = np.frombuffer(file.read_bytes()[header : header + 4 * 600], "<i2").reshape(4, len(LEADS), 100)
    return raw.transpose(0, 2, 1).reshape(-1, len(LEADS)) / 65535 * 10 * 1000


def write_local(file, text):
    file.write_text(text)
    return file


def test_a_hole_is_filled_and_nothing_else_changes(tmp_path, call):
    leads = record(tmp_path / "in", "r")
    assert call("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    before, after = (read_samples(tmp_path / d / "r.dat") for d in ("in", "out"))
    assert hole_error(after, leads) < TOLERANCE
    assert (before != after).sum() == 60 and (before != after)[HOLE, 1].all()


def test_a_record_without_names_of_signals_is_named_and_the_others_are_done(tmp_path, call):
    for name, names in (("a", LEADS), ("m", ("", "", "")), ("z", LEADS)):
        record(tmp_path / "in", name, names=names)
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "completed 2 files, skipped 1" in output and "m.hea has no channel" in output
    code, output = call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0)
    assert code == 1 and set(pd.read_csv(tmp_path / "p.csv")["record"]) == {"a", "z"}


@pytest.mark.parametrize(
    "error",
    [
        KeyError("lead"),
        ZeroDivisionError(),
        RuntimeError("a\nb " * 900),
        RecursionError("deep"),
        RuntimeError("\x1b]0;owned\x07\x1b[2J \ud800"),
    ],
)
def test_whatever_a_reader_raises_the_others_are_done(tmp_path, call, monkeypatch, error):
    from client_app.inference import recording_reader

    for name in ("a", "m", "z"):
        record(tmp_path / "in", name)
    open_recording = recording_reader.open_recording

    def fail(file, **options):
        if file.stem == "m":
            raise error
        return open_recording(file, **options)

    monkeypatch.setattr(recording_reader, "open_recording", fail)
    for command, out in (("impute", tmp_path / "out"), ("predict", tmp_path / "p.csv")):
        code, output = call(command, tmp_path / "in", out)
        skipped = [line for line in output.splitlines() if line.startswith("skipped: ")]
        assert code == 1 and len(skipped) == 1 and skipped[0].isprintable(), output
        assert "m.hea" in skipped[0] and type(error).__name__ in skipped[0] and len(skipped[0]) < 600
    assert {f.stem for f in (tmp_path / "out").glob("*.dat")} == {"a", "z"}
    assert list(pd.read_csv(tmp_path / "p.csv")["record"]) == ["a"] * 2 + ["z"] * 2


def test_a_file_that_fails_half_way_has_neither_rows_nor_output(tmp_path, call, monkeypatch):
    for name in ("a", "m", "z"):
        write_record(tmp_path / "in", name, with_hole(ecg(80)), names=LEADS)
    read = PatchReader.read

    def fail(reader, start_seconds, patches):
        if reader.match.recording.file.stem == "m" and start_seconds > 15:
            raise OSError("the disk is gone")
        return read(reader, start_seconds, patches)

    monkeypatch.setattr(PatchReader, "read", fail)
    code, output = call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0)
    assert code == 1 and "m.hea cannot be used (the disk is gone)" in output
    assert list(pd.read_csv(tmp_path / "p.csv")["record"]) == ["a"] * 40 + ["z"] * 40
    assert list(pd.read_csv(tmp_path / "p-recordings.csv")["record"]) == ["a", "z"]
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "m.hea cannot be used (the disk is gone)" in output
    assert {file.name for file in (tmp_path / "out").glob("*.dat")} == {"a.dat", "z.dat"}


def test_files_that_differ_in_their_suffix_alone_are_different_recordings(tmp_path, call):
    record(tmp_path / "in", "r")
    write_edf_file(tmp_path / "in" / "r.edf", edf_signals(ecg(), hole=False))
    record(tmp_path / "in" / "a", "r")
    assert call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0)[0] == 0
    assert set(pd.read_csv(tmp_path / "p-recordings.csv")["record"]) == {"a/r", "r.hea", "r.edf"}


def test_skewed_leads_are_aligned_before_they_are_completed(tmp_path, call):
    leads, skew = ecg(), 20
    digital = with_hole(leads)
    digital[:, 1] = np.roll(digital[:, 1], skew)
    write_record(tmp_path / "in", "skewed", digital, names=LEADS, forms=("16", f"16:{skew}", "16"))
    record(tmp_path / "in", "aligned")
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "skew" in output
    aligned = hole_error(read_samples(tmp_path / "out" / "aligned.dat"), leads)
    after = read_samples(tmp_path / "out" / "skewed.dat").copy()
    after[:, 1] = np.roll(after[:, 1], -skew)
    assert hole_error(after, leads) == pytest.approx(aligned, abs=0.005) and aligned < TOLERANCE


def test_an_edf_file_whose_range_is_that_of_its_data_is_complete(tmp_path, call):
    signals = []
    for name, x in zip(LEADS, ecg().T, strict=True):
        low, high = (float(f"{v:.5f}") for v in (x.min(), x.max()))
        digital = np.round((x - low) / (high - low) * 65535 - 32768).clip(-32768, 32767).astype(int)
        signals.append(EdfSignal(name, digital, physical=(f"{low:.5f}", f"{high:.5f}")))
    file = write_edf_file(tmp_path / "in" / "r.edf", signals)
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "digital range" not in output
    assert (tmp_path / "out" / "r.edf").read_bytes() == file.read_bytes()


def test_samples_at_the_ends_of_the_digital_range_are_counted_in_a_note(tmp_path, call):
    write_edf_file(tmp_path / "in" / "r.edf", edf_signals(ecg()))
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    number = len(range(*HOLE.indices(10**6)))
    assert code == 0 and output.count("digital range") == 1
    assert f"{number} samples of {LEADS[1]} at the ends of its digital range count as measured" in output
    assert 'state ends-of-range = "missing" under [files] in a file for --local' in output
    local = write_local(
        tmp_path / "site.toml", '[files]\nformat = "edf"\npath = "*.edf"\nends-of-range = "missing"\n'
    )
    code, output = call("impute", tmp_path / "in", tmp_path / "other", "--local", local)
    assert code == 0 and "digital range" not in output


@pytest.mark.parametrize(
    "texts",
    [{"time": "12:00:00"}, {"time": ""}, {"time": "xx.xx.xx"}, {"records": -1}, {"tail": bytes(100)}],
    ids=["colons", "blank", "anonymised", "unfinished", "padded"],
)
def test_edf_files_with_unusual_headers_are_completed_where_a_site_says_what_is_missing(
    tmp_path, call, texts
):
    leads = ecg()
    write_edf_file(tmp_path / "in" / "r.edf", edf_signals(leads), **texts)
    local = write_local(
        tmp_path / "site.toml", '[files]\nformat = "edf"\npath = "*.edf"\nends-of-range = "missing"\n'
    )
    code, output = call("impute", tmp_path / "in", tmp_path / "out", "--local", local)
    assert code == 0, output
    assert hole_error(read_edf(tmp_path / "out" / "r.edf"), leads) < TOLERANCE


def test_a_header_is_written_as_it_was(tmp_path, call):
    leads = np.c_[ecg(), ecg()[:, 0]]
    write_record(
        tmp_path / "in", "r", with_hole(leads), names=(*LEADS, "Käfig"),
        first="r 4 100 400 05-Feb-2020 11:39:16", tail=("#Age: 74", "#Klinik: München"),
    )  # fmt: skip
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "does not know are not read: Käfig" in output
    before, after = ((tmp_path / d / "r.hea").read_text().splitlines() for d in ("in", "out"))
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [2]  # a checksum


def test_the_output_for_scripts_is_one_object_of_json(tmp_path, call, capfd):
    record(tmp_path / "in", "r", forms=("16+24",) * 3, file="r.mat", head=bytes(24))
    code, output = call("impute", tmp_path / "in", tmp_path / "out", "--json")
    assert code == 0 and json.loads(output)["completed"] == 1 and capfd.readouterr().out == ""
    assert (tmp_path / "out" / "r.mat").exists()


def test_headers_that_share_samples_are_refused_by_name(tmp_path, call):
    record(tmp_path / "in", "r")
    text = (tmp_path / "in" / "r.hea").read_text()
    (tmp_path / "in" / "first2s.hea").write_text(text.replace("r 3 100 400", "first2s 3 100 200"))
    record(tmp_path / "in", "other")
    code, output = call("impute", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "first2s.hea and r.hea share r.dat" in output and "completed 1 file," in output
    assert call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0)[0] == 0  # reading is harmless


def test_what_was_completed_is_read_by_every_command(tmp_path, call):
    record(tmp_path / "in", "r")
    write_edf_file(tmp_path / "in" / "e.edf", edf_signals(ecg(), hole=False))
    assert call("impute", tmp_path / "in", tmp_path / "out", "--samples", 2)[0] == 0
    assert len(find_recordings(tmp_path / "out")) == 12  # each with five quantiles
    code, output = call("predict", tmp_path / "out", tmp_path / "p.csv", "--samples", 0)
    assert code == 0 and set(pd.read_csv(tmp_path / "p.csv")["record"]) == {"r", "e"}
    assert call("impute", tmp_path / "out", tmp_path / "again")[0] == 0
    for name in ("r.hea", "r.dat", "e.edf"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
