import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import edfio
import mne
import numpy as np
import pandas as pd
import pytest
from generated_sleep_edf import (
    CHANNELS,
    EVENING,
    TEXTS,
    write_coded_night,
    write_hypnogram,
    write_night,
    write_nights,
)
from mne.datasets.sleep_physionet import age
from scipy.signal import welch

from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.report import Report
from data_partitions.sources.sleep_edf import MODALITIES, STAGES, download, index, read, schema
from data_partitions.splits import fixed_splits

SLEEP = "WW1W234R2M?R1W2W"  # 480 s: whole records of 20, 30 and 60 s
LABEL = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "R": "REM"}


def windows_of(source, table, report=None):
    return np.stack(list(read(source, table, report or Report())))


def stages_of(table):
    return [STAGES[i] for i in table[list(STAGES)].to_numpy().argmax(1)]


def numbers_of(table):
    return [int(record[-4:]) for record in table["record_id"]]


def change_psg(file, change):
    """Write a PSG anew with the signals that `change` makes of its signals."""
    edf = edfio.read_edf(file)
    signals = [change(signal) for signal in edf.signals]
    kept = [signal for signal in signals if signal is not None]
    edfio.Edf(kept, data_record_duration=30, recording=edf.recording, starttime=edf.starttime).write(file)


def copy_signal(signal, **changes):
    as_it_is = {
        "data": signal.data,
        "sampling_frequency": signal.sampling_frequency,
        "label": signal.label,
        "physical_dimension": signal.physical_dimension,
    }
    return edfio.EdfSignal(**{**as_it_is, **changes})


def change_bytes(file, start, new):
    content = bytearray(file.read_bytes())
    content[start : start + len(new)] = new
    file.write_bytes(content)


def test_schema_is_a_manifest_but_for_the_site(tmp_path):
    rest = {"site": "a", "windows": {"train": 1, "val": 0, "test": 0}, "made_by": "a test"}
    manifest = Manifest(**schema(tmp_path, wake_minutes=12.5), **rest)
    assert manifest.shape == (5, 30, 100)
    assert [m.name for m in manifest.modalities] == ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG", "Resp", "EMG"]
    assert [m.unit for m in manifest.modalities] == ["uV", "uV", "uV", "a.u.", "uV"]
    assert [m.rate for m in manifest.modalities] == [100, 100, 100, 1, 1]
    assert manifest.labels == ("W", "N1", "N2", "N3", "REM") and manifest.task == "single-label"
    assert "at most 12.5 min before" in manifest.label_rule


@pytest.mark.parametrize("minutes", [-1.0, float("nan")])
def test_wake_minutes_out_of_range(tmp_path, minutes):
    with pytest.raises(DataError, match="wake_minutes must be 0 or more, it is"):
        index(tmp_path, Report(), wake_minutes=minutes)


# --- labels and samples line up


@pytest.mark.parametrize("record_seconds", [20, 30, 60])
@pytest.mark.parametrize("late", [0, 7, 90, -30, -45])
def test_each_label_stands_at_its_samples(tmp_path, late, record_seconds):
    write_coded_night(tmp_path, "SC4001", SLEEP, late=late, record_seconds=record_seconds)
    table = index(tmp_path, Report())
    windows = windows_of(tmp_path, table)
    begins = [late + 30 * k for k in range(len(SLEEP))]
    inside = [k for k, begin in enumerate(begins) if 0 <= begin <= 450 and SLEEP[k] not in "?M"]
    assert stages_of(table) == [LABEL[SLEEP[k]] for k in inside]
    assert numbers_of(table) == [begins[k] // 30 for k in inside]
    for k, window in zip(inside, windows, strict=True):
        value = 10 * (1 + list(TEXTS).index(SLEEP[k]))
        np.testing.assert_allclose(window[:3], np.full((3, 30, 100), value), atol=0.01)
        np.testing.assert_allclose(window[3:, :, 0], np.full((2, 30), value), atol=0.01)
    assert np.isnan(windows[:, 3:, :, 1:]).all()


@pytest.mark.parametrize("days", [-65, 1, 400])
def test_a_slip_in_the_date_of_a_hypnogram_moves_nothing(tmp_path, days):
    write_coded_night(tmp_path / "a", "SC4001", SLEEP, late=30)
    begin = EVENING + timedelta(days=days, seconds=30)
    write_coded_night(tmp_path / "b", "SC4001", SLEEP, late=30, begin=begin)
    pd.testing.assert_frame_equal(index(tmp_path / "a", Report()), index(tmp_path / "b", Report()))


def test_starts_on_two_sides_of_midnight(tmp_path):
    write_coded_night(tmp_path, "SC4001", SLEEP, late=90)
    change_bytes(tmp_path / "SC4001E0-PSG.edf", 176, b"23.59.00")
    change_bytes(tmp_path / "SC4001EC-Hypnogram.edf", 176, b"00.00.30")
    table = index(tmp_path, Report())
    assert numbers_of(table)[0] == 3
    np.testing.assert_allclose(windows_of(tmp_path, table)[0, 0], 10, atol=0.01)


@pytest.fixture
def noisy(tmp_path):
    """A night of independent samples, and what is in it: channel -> samples."""
    rng = np.random.default_rng(0)
    samples = {name: rng.uniform(-100, 100, 480 * rate) for name, (rate, _) in CHANNELS.items()}
    write_night(tmp_path, "SC4001", SLEEP, samples)
    return tmp_path, samples


def test_samples_are_those_of_the_file_at_its_own_rates(noisy):
    source, samples = noisy
    table = index(source, Report())
    windows = windows_of(source, table)
    assert windows.dtype == np.float32 and windows.shape == (14, 5, 30, 100)
    for number, window in zip(numbers_of(table), windows, strict=True):
        for values, (channel, _, rate) in zip(window, MODALITIES.values(), strict=True):
            expected = samples[channel][30 * rate * number :][: 30 * rate]
            np.testing.assert_allclose(values[:, :rate].ravel(), expected, atol=0.01)
            assert np.isnan(values[:, rate:]).all()


def test_nothing_is_upsampled_and_only_what_is_needed_is_read(noisy, monkeypatch):
    source, _ = noisy
    together = mne.io.read_raw_edf(source / "SC4001E0-PSG.edf", verbose="ERROR")
    assert together.info["sfreq"] == 100, "what happens to EMG when all channels are opened together"
    asked = []
    get_data = mne.io.BaseRaw.get_data

    def watched(raw, picks=None, start=0, stop=None, **options):
        asked.append((raw.info["sfreq"], tuple(raw.ch_names), int(start), int(stop)))
        return get_data(raw, picks, start, stop, **options)

    monkeypatch.setattr(mne.io.BaseRaw, "get_data", watched)
    table = index(source, Report())
    assert not asked, "the index needs no signals"
    windows_of(source, table.iloc[[4, 2]])  # epochs 4 and 2
    assert sorted(asked) == [
        (1.0, ("Resp oro-nasal", "EMG submental"), 60, 150),
        (100.0, ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal"), 6000, 15000),
    ]


def test_rows_may_come_in_any_order_and_each_run_opens_its_night_once(tmp_path, monkeypatch):
    write_nights(tmp_path, subjects=2, nights=1, epochs=24)
    table = index(tmp_path, Report())
    whole = dict(zip(table["record_id"], windows_of(tmp_path, table), strict=True))
    assert len(whole) == len(table) > 40
    for seed in range(2):
        rows = table.sample(frac=1, random_state=seed)
        shuffled = windows_of(tmp_path, rows)
        for record, window in zip(rows["record_id"], shuffled, strict=True):
            np.testing.assert_array_equal(window, whole[record])
    opened = []
    read_raw = mne.io.read_raw_edf
    monkeypatch.setattr(mne.io, "read_raw_edf", lambda f, **k: opened.append(f) or read_raw(f, **k))
    list(read(tmp_path, table.iloc[::-1], Report()))
    assert Counter(file.name for file in opened) == {"SC4001E0-PSG.edf": 2, "SC4011E0-PSG.edf": 2}
    assert list(read(tmp_path, table.iloc[:0], Report())) == []


def test_respiration_is_as_in_the_file_whatever_unit_it_names(tmp_path):
    write_coded_night(tmp_path, "SC4001", SLEEP)

    def in_uv(signal):
        return copy_signal(signal, physical_dimension="uV") if signal.label.startswith("Resp") else signal

    change_psg(tmp_path / "SC4001E0-PSG.edf", in_uv)
    windows = windows_of(tmp_path, index(tmp_path, Report()))
    np.testing.assert_allclose(windows[:, 3, :, 0], windows[:, 0, :, 0], atol=0.01)


# --- which epochs are kept


@pytest.mark.parametrize(
    ("minutes", "before", "after"),
    [(30.0, 60, 60), (30.4, 60, 60), (30.5, 61, 61), (0, 0, 0), (0.5, 1, 1), (1e9, 70, 65)],
)
def test_wake_around_sleep_is_cut_at_its_border(tmp_path, minutes, before, after):
    write_coded_night(tmp_path, "SC4001", "W" * 70 + "1" + "W" * 75 + "R" + "W" * 65)
    report = Report()
    table = index(tmp_path, report, wake_minutes=minutes)
    assert numbers_of(table) == list(range(70 - before, 147 + after)), "wake between sleep is all kept"
    cut = 70 + 65 - before - after
    note = f"Dropped as they are wake more than {minutes:g} min before or after sleep: {cut} epochs."
    assert report.notes == ([note] if cut else [])


def test_thirty_minutes_is_the_default(tmp_path):
    write_coded_night(tmp_path, "SC4001", "W" * 70 + "1")
    assert len(index(tmp_path, Report())) == 61


def test_movement_and_unscored_epochs_are_dropped_and_counted(tmp_path):
    write_coded_night(tmp_path, "SC4001", "?W1M2??3M4R?")
    report = Report()
    table = index(tmp_path, report)
    assert stages_of(table) == ["W", "N1", "N2", "N3", "N3", "REM"]
    assert numbers_of(table) == [1, 2, 4, 7, 9, 10]
    assert (table[list(STAGES)].sum(axis=1) == 1).all()
    assert report.notes == ["Dropped as they are movement or not scored: 6 epochs."]


def test_annotations_past_the_end_of_the_signals_are_cut(tmp_path):
    write_coded_night(tmp_path, "SC4001", "W2" * 8 + "?" * 2000, seconds=320, record_seconds=20)
    report = Report()
    table = index(tmp_path, report)
    assert numbers_of(table) == list(range(10)), "the eleventh epoch has 20 s of signal"
    assert report.notes == []
    assert np.isfinite(windows_of(tmp_path, table)[:, :3]).all()


def test_of_a_run_that_is_no_multiple_of_30_s_the_whole_epochs_count(tmp_path):
    write_coded_night(tmp_path, "SC4001", SLEEP)
    runs = [(0, 45, "W"), (45, 100, "2"), (145, 30, "R"), (175, 29, "3"), (204, 86000, "1")]
    runs = [(onset, duration, TEXTS[stage]) for onset, duration, stage in runs]
    write_hypnogram(tmp_path / "SC4001EC-Hypnogram.edf", runs)
    table = index(tmp_path, Report())
    expected = [(0, "W"), (45, "N2"), (75, "N2"), (105, "N2"), (145, "REM")]
    expected += [(204 + 30 * i, "N1") for i in range(9)]
    assert list(zip(table["start"], stages_of(table), strict=True)) == expected
    value = np.repeat(10 * (1 + np.array([list(TEXTS).index(stage) for stage in SLEEP])), 30)
    for start, window in zip(table["start"], windows_of(tmp_path, table), strict=True):
        np.testing.assert_allclose(window[4, :, 0], value[int(start) :][:30], atol=0.01)


# --- nights, subjects, splits


@pytest.fixture
def five(tmp_path):
    for subject in range(5):
        for night in (1, 2):
            write_coded_night(tmp_path / "sleep-cassette", f"SC4{subject:02d}{night}", SLEEP)
    return tmp_path


def test_index(five):
    seen = []
    table = index(five, Report(progress=lambda *told: seen.append(told)))
    assert seen == [("reading hypnograms", i, 10) for i in range(1, 11)]
    assert list(table.columns) == ["record_id", "patient_id", "split", "site", *STAGES, "psg", "start"]
    assert table["record_id"].is_unique and len(table) == 10 * 14
    assert table["record_id"].tolist()[:3] == ["SC4001-0000", "SC4001-0001", "SC4001-0002"]
    assert table["record_id"].str[3:5].tolist() == table["patient_id"].tolist()
    assert set(table["site"]) == {""}
    assert table["psg"].iloc[0] == "sleep-cassette/SC4001E0-PSG.edf"


def test_both_nights_of_a_subject_are_in_one_split(five):
    table = index(five, Report())
    splits = table.groupby("patient_id")["split"].agg(["first", "nunique", "size"])
    assert splits["nunique"].tolist() == [1] * 5 and splits["size"].tolist() == [28] * 5
    assert Counter(splits["first"]) == {"train": 3, "val": 1, "test": 1}
    shares = {"train": 0.6, "val": 0.2, "test": 0.2}
    assert splits["first"].to_dict() == fixed_splits("sleep-edf", [f"{i:02d}" for i in range(5)], shares)


def test_a_night_that_cannot_be_used_moves_nobody_to_another_split(five):
    before = index(five, Report()).set_index("record_id")["split"]
    for night in (1, 2):
        (five / f"sleep-cassette/SC402{night}EC-Hypnogram.edf").write_bytes(b"")
    after = index(five, Report()).set_index("record_id")["split"]
    assert len(after) == 8 * 14
    assert (before[after.index] == after).all()


def test_telemetry_nights_are_left_out_with_one_note(tmp_path):
    for name in ("ST7011J0-PSG", "ST7011JP-Hypnogram", "ST7022J0-PSG", "ST7022JM-Hypnogram"):
        (tmp_path / f"{name}.edf").write_bytes(b"")
    report = Report()
    with pytest.raises(DataError, match="has only 2 telemetry nights: give a folder with cassette nights"):
        index(tmp_path, report)
    write_coded_night(tmp_path, "SC4001", SLEEP)
    report = Report()
    assert len(index(tmp_path, report)) == 14
    assert report.bad == []
    note = "Left out as they have no airflow, and their EMG at 100 Hz: 2 telemetry nights (ST7)."
    assert report.notes == [note, "Dropped as they are movement or not scored: 2 epochs."]


def test_no_night_at_all(tmp_path):
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="has no nights: give a folder with .* SC4001E0-PSG.edf and"):
            index(source, Report())


# --- nights that cannot be used


def _without_emg(psg, hypnogram):
    change_psg(psg, lambda signal: None if signal.label == "EMG submental" else signal)


def _emg_at_100_hz(psg, hypnogram):
    def fast(signal):
        if signal.label != "EMG submental":
            return signal
        return copy_signal(signal, data=np.repeat(signal.data, 100), sampling_frequency=100)

    change_psg(psg, fast)


def _eeg_in_mv(psg, hypnogram):
    change_psg(
        psg, lambda s: copy_signal(s, physical_dimension="mV") if s.label == "EEG Pz-Oz" else copy_signal(s)
    )


def _no_annotations(psg, hypnogram):
    content = hypnogram.read_bytes()
    first = content.index(b"\x14\x14\x00", 512) + 3  # what follows the start of the only record
    hypnogram.write_bytes(content[:first] + bytes(len(content) - first))


def _runs(*runs):
    return lambda psg, hypnogram: write_hypnogram(hypnogram, list(runs))


def _night(stages, **options):
    def write(psg, hypnogram):
        write_coded_night(psg.parent, psg.name[:6], stages, **options)

    return write


BAD = {
    "no channel": (
        _without_emg,
        "SC4011E0-PSG.edf has no channel EMG submental: it has EEG Fpz-Cz, EEG Pz-Oz, EOG horizontal, Resp",
    ),
    "rate": (_emg_at_100_hz, "SC4011E0-PSG.edf has EMG submental at 100 Hz, expected 1"),
    "unit": (_eeg_in_mv, 'SC4011E0-PSG.edf has EEG Pz-Oz in "mV", expected uV'),
    "no hypnogram": (
        lambda psg, hypnogram: hypnogram.unlink(),
        "night SC4011E must have one PSG and one Hypnogram, it has {folder}/SC4011E0-PSG.edf",
    ),
    "no psg": (
        lambda psg, hypnogram: psg.unlink(),
        "night SC4011E must have one PSG and one Hypnogram, it has {folder}/SC4011EC-Hypnogram.edf",
    ),
    "two hypnograms": (
        lambda psg, hypnogram: shutil.copy(hypnogram, hypnogram.parent / "SC4011EH-Hypnogram.edf"),
        "SC4011E0-PSG.edf, {folder}/SC4011EC-Hypnogram.edf, {folder}/SC4011EH-Hypnogram.edf",
    ),
    "empty hypnogram": (_no_annotations, "SC4011EC-Hypnogram.edf has no annotations: expected sleep stages"),
    "unknown text": (
        _runs((0, 30, "Sleep stage W"), (30, 60, "Lights off")),
        'SC4011EC-Hypnogram.edf says "Lights off" at 30 s, expected Sleep stage W, Sleep stage 1',
    ),
    "text in another encoding": (
        lambda psg, hypnogram: change_bytes(hypnogram, hypnogram.read_bytes().index(b"Sleep"), b"Schl\xe4"),
        "SC4011EC-Hypnogram.edf is not a readable hypnogram ('utf-8' codec",
    ),
    "scored twice": (
        _runs((0, 90, "Sleep stage W"), (60, 60, "Sleep stage 2")),
        "SC4011EC-Hypnogram.edf scores the epoch at 60 s twice",
    ),
    "nothing scored": (_night("?MM?"), "Hypnogram.edf scores no sleep within the 120 s of SC4011E0-PSG.edf"),
    "only wake": (_night("WWW?"), "scores no sleep within the 120 s of"),
    "sleep after the signals": (_night("WW22", seconds=60), "scores no sleep within the 60 s of"),
    "truncated psg": (
        lambda psg, hypnogram: os.truncate(psg, 200_000),
        "SC4011E0-PSG.edf has 200000 bytes, 293888 by its header: remove it and fetch it again",
    ),
    "truncated hypnogram": (
        lambda psg, hypnogram: os.truncate(hypnogram, 600),
        "SC4011EC-Hypnogram.edf has 600 bytes,",
    ),
    "bytes appended": (
        lambda psg, hypnogram: psg.write_bytes(psg.read_bytes() + b"\0\0"),
        "SC4011E0-PSG.edf has 293890 bytes, 293888 by its header",
    ),
    "unfinished": (
        lambda psg, hypnogram: change_bytes(psg, 236, b"-1      "),
        "SC4011E0-PSG.edf has 293888 bytes,",
    ),
    "empty psg": (lambda psg, hypnogram: os.truncate(psg, 0), "SC4011E0-PSG.edf is not an EDF file"),
    "part of a header": (lambda psg, hypnogram: os.truncate(psg, 900), "SC4011E0-PSG.edf is not an EDF file"),
    "another file": (
        lambda psg, hypnogram: hypnogram.write_text("<html>not found</html>" * 50),
        "SC4011EC-Hypnogram.edf is not an EDF file: remove it and fetch it again",
    ),
    "a folder": (
        lambda psg, hypnogram: (psg.unlink(), psg.mkdir()),
        "SC4011E0-PSG.edf cannot be read (Is a directory)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_night_is_left_out_in_one_sentence_and_the_others_go_on(tmp_path, case):
    damage, sentence = BAD[case]
    for night in ("SC4001", "SC4011"):
        write_coded_night(tmp_path, night, SLEEP)
    alone = index(tmp_path, Report())
    damage(tmp_path / "SC4011E0-PSG.edf", tmp_path / "SC4011EC-Hypnogram.edf")
    report = Report()
    table = index(tmp_path, report)
    assert len(report.bad) == 1 and "\n" not in report.bad[0]
    assert sentence.format(folder=tmp_path) in report.bad[0]
    assert table["record_id"].tolist() == alone["record_id"].tolist()[:14]
    assert set(table["patient_id"]) == {"00"}
    assert len(windows_of(tmp_path, table)) == 14
    with pytest.raises(DataError) as error:
        index(tmp_path, Report(strict=True))
    assert str(error.value) == report.bad[0]
    (tmp_path / "SC4001E0-PSG.edf").unlink()
    with pytest.raises(DataError, match="no night of .* can be used; the first: night SC4001E must have"):
        index(tmp_path, Report())


def test_a_night_damaged_after_the_index_gives_none_for_its_rows(tmp_path):
    for night in ("SC4001", "SC4011", "SC4021"):
        write_coded_night(tmp_path, night, SLEEP)
    table = index(tmp_path, Report())
    os.truncate(tmp_path / "SC4011E0-PSG.edf", 200_000)
    report = Report()
    windows = list(read(tmp_path, table, report))
    assert [window is None for window in windows] == [False] * 14 + [True] * 14 + [False] * 14
    assert len(report.bad) == 1 and "SC4011E0-PSG.edf has 200000 bytes" in report.bad[0]
    with pytest.raises(DataError, match="SC4011E0-PSG.edf has 200000 bytes"):
        list(read(tmp_path, table, Report(strict=True)))


def test_a_night_that_mne_cannot_read_gives_none_for_its_rows(tmp_path):
    write_coded_night(tmp_path, "SC4001", SLEEP)
    physical_min = 256 + len(CHANNELS) * (16 + 80 + 8)
    change_bytes(tmp_path / "SC4001E0-PSG.edf", physical_min, b"a lot   ")
    report = Report()
    assert list(read(tmp_path, index(tmp_path, report), report)) == [None] * 14
    assert len(report.bad) == 1
    assert "SC4001E0-PSG.edf cannot be read (could not convert string to float: 'a lot" in report.bad[0]


def test_mne_is_quiet_and_not_imported_before_it_is_needed(tmp_path, capfd, recwarn):
    write_coded_night(tmp_path, "SC4001", SLEEP)
    windows_of(tmp_path, index(tmp_path, Report()))
    assert capfd.readouterr() == ("", "") and not recwarn.list
    program = "import sys, data_partitions.sources.sleep_edf; sys.exit('mne' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 0


# --- the generated nights


def test_generated_signals_follow_the_stage(tmp_path):
    write_nights(tmp_path, subjects=2, nights=1, epochs=120, seed=3)
    table = index(tmp_path, Report())
    windows = windows_of(tmp_path, table)
    stages = np.array(stages_of(table))
    signals = windows[:, :3].reshape(len(table), 3, 3000)
    frequency, power = welch(signals, 100, nperseg=1000)

    def loudest(low, high, channel):
        """Stages by the power of a band, loudest first; and by how much the first leads."""
        within = (frequency >= low) & (frequency <= high)
        of = {s: np.median(power[stages == s][:, channel, within].mean(axis=1)) for s in STAGES}
        first, second, *_ = ranking = sorted(of, key=of.get, reverse=True)
        return ranking, of[first] / of[second]

    expected = {  # band, channel: the stage it marks
        (0.5, 2, 0): "N3",
        (0.5, 2, 1): "N3",
        (8, 12, 1): "W",
        (12.5, 13.5, 0): "N2",  # spindles
        (0.2, 0.5, 2): "N1",  # slow rolls of the eyes
    }
    for band, stage in expected.items():
        ranking, lead = loudest(*band)
        assert ranking[0] == stage and lead > 1.5, (band, ranking, lead)
    assert loudest(4, 7, 0)[0][0] == "N1"
    chin = {stage: np.nanmedian(windows[stages == stage, 4]) for stage in STAGES}
    assert min(chin, key=chin.get) == "REM" and max(chin, key=chin.get) == "W"
    moves = {stage: np.ptp(signals[stages == stage, 2], axis=1).mean() for stage in STAGES}
    assert moves["REM"] > 1.5 * moves["N2"]
    front, back = (np.concatenate(signals[stages == "N3", channel]) for channel in (0, 1))
    assert 0.7 < np.corrcoef(front, back)[0, 1] < 0.95


def test_generated_nights_repeat_by_their_seed(tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_nights(tmp_path / folder, subjects=1, nights=2, epochs=24, seed=seed)
    files = {folder: [f.read_bytes() for f in sorted((tmp_path / folder).iterdir())] for folder in "abc"}
    assert len(files["a"]) == 4
    assert files["a"] == files["b"] and not set(files["a"]) & set(files["c"])
    assert files["a"][0] != files["a"][2], "two nights differ"


# --- download


class Remote:
    """A web server on loopback with the files of two nights; `cut` sends only so many bytes of a file."""

    def __init__(self, folder):
        self.folder, self.cut, self.asked = folder, {}, []
        remote = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[-1]
                remote.asked.append(name)
                if self.path != f"/sleep-cassette/{name}" or not (remote.folder / name).is_file():
                    self.send_error(404)
                    return
                content = (remote.folder / name).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: remote.cut.get(name, len(content))])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sleep-cassette/"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}).start()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    folder = tmp_path / "remote"
    for night in ("SC4001", "SC4002"):
        write_coded_night(folder, night, SLEEP)
    rows = ["subject,night,record type,age,sex,lights off,sha,fname"]
    for file in sorted(folder.iterdir()):
        kind = file.stem.split("-")[1]
        rows.append(
            f"0,{file.name[5]},{kind},33,f,00:00:00,{sha1(file.read_bytes()).hexdigest()},{file.name}"
        )
    (tmp_path / "records.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(age, "AGE_SLEEP_RECORDS", str(tmp_path / "records.csv"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    remote = Remote(folder)
    yield remote
    remote.server.shutdown()
    remote.server.server_close()


def names_below(folder):
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


ALL = ["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf", "SC4002E0-PSG.edf", "SC4002EC-Hypnogram.edf"]


def fetch(remote, out, report=None, **options):
    download(out, report or Report(), **{"subjects": [0], "base_url": remote.url, **options})


def test_download_fetches_what_index_reads_and_nothing_twice(remote, tmp_path, capfd):
    out, seen = tmp_path / "out", []
    fetch(remote, out, Report(progress=lambda *told: seen.append(told)))
    assert seen == [("fetching nights", 1, 2), ("fetching nights", 2, 2)]
    assert capfd.readouterr() == ("", "")
    assert names_below(out) == ALL == sorted(remote.asked)
    for file in out.rglob("*.edf"):
        assert file.read_bytes() == (remote.folder / file.name).read_bytes()
    assert len(index(out, Report())) == 28
    remote.asked.clear()
    fetch(remote, out)
    assert remote.asked == []


def test_nights_that_are_there_in_another_folder_are_not_fetched(remote, tmp_path):
    shutil.copytree(remote.folder, tmp_path / "out/sleep-cassette")
    fetch(remote, tmp_path / "out")
    assert remote.asked == []


def test_an_interrupted_download_goes_on_where_it_stopped(remote, tmp_path):
    out = tmp_path / "out"
    remote.cut["SC4002E0-PSG.edf"] = 100_000
    with pytest.raises(DataError) as error:
        fetch(remote, out)
    sentence = str(error.value)
    assert sentence.startswith(f"cannot fetch night SC4002 from {remote.url[:-1]} (") and "\n" not in sentence
    assert sentence.endswith("): call it again, what is there is kept")
    assert names_below(out) == ALL[:2], "nothing of the file that broke off"
    remote.asked.clear()
    remote.cut.clear()
    fetch(remote, out)
    assert names_below(out) == ALL and remote.asked == ALL[2:]
    assert len(index(out, Report())) == 28


def test_another_file_than_the_published_one_is_refused(remote, tmp_path):
    change_bytes(remote.folder / "SC4001EC-Hypnogram.edf", 600, b"x")
    with pytest.raises(
        DataError, match="cannot fetch night SC4001 .*SC4001EC-Hypnogram.edf.* does not match"
    ):
        fetch(remote, tmp_path / "out")
    assert names_below(tmp_path / "out") == ALL[:1]


def test_a_file_the_server_does_not_have_and_a_server_that_is_not_there(remote, tmp_path):
    (remote.folder / "SC4001E0-PSG.edf").unlink()
    with pytest.raises(DataError, match="cannot fetch night SC4001 .*404"):
        fetch(remote, tmp_path / "out")
    remote.server.server_close()
    with pytest.raises(DataError, match="cannot fetch night SC4001 .*: call it again, what is there is kept"):
        fetch(remote, tmp_path / "out", base_url="http://127.0.0.1:1/")
    assert names_below(tmp_path / "out") == []


def test_nights_that_were_never_published(remote, tmp_path):
    fetch(remote, tmp_path / "out", subjects=[13], recordings=[2])
    fetch(remote, tmp_path / "out", subjects=[36, 52], recordings=[1])
    assert remote.asked == []
    with pytest.raises(DataError, match="Sleep-EDF has no night 1 of subject 39"):
        fetch(remote, tmp_path / "out", subjects=[0, 39])
    with pytest.raises(DataError, match="Sleep-EDF has no night 3 of subject 0"):
        fetch(remote, tmp_path / "out", recordings=[3])
    assert remote.asked == []


def test_all_that_is_published_is_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(age, "fetch_data", lambda s, r, **_: asked.append((s[0], r[0])))
    download(tmp_path, Report())
    published = pd.read_csv(age.AGE_SLEEP_RECORDS)
    assert set(asked) == set(zip(published["subject"], published["night"], strict=True))
    assert len(asked) == 153


# --- Sleep-EDF itself


@pytest.fixture
def real() -> Path:
    """A folder with hypnograms of Sleep-EDF and npz files with the stage of each scored epoch."""
    places = [os.environ.get("CONDI_DATA"), Path(__file__).parents[3] / "shared" / "data"]
    for place in filter(None, places):
        if list((Path(place) / "sleep-edf").glob("SC4*-Hypnogram.edf")):
            return Path(place) / "sleep-edf"
    pytest.skip("no Sleep-EDF here: set CONDI_DATA to the folder that has sleep-edf/")


def silent_psg(file, seconds, like):
    """A PSG of zeros as a sparse file, with the start of the file `like`."""
    write_night(
        file.parent, "SC4991", "W", {name: np.zeros(30 * rate) for name, (rate, _) in CHANNELS.items()}
    )
    psg = file.parent / "SC4991E0-PSG.edf"
    header = 256 * (1 + len(CHANNELS))
    record = psg.stat().st_size - header
    change_bytes(psg, 168, like.read_bytes()[168:184])
    change_bytes(psg, 236, f"{seconds // 30:<8}".encode())
    os.truncate(psg, header + seconds // 30 * record)
    psg.rename(file)
    (file.parent / "SC4991EC-Hypnogram.edf").unlink()


def test_the_sample_of_sleep_edf(real, tmp_path):
    hypnograms = sorted(real.glob("SC4*-Hypnogram.edf"))
    if len(hypnograms) != 16:
        pytest.skip("another part of Sleep-EDF than the numbers are for")
    for hypnogram in hypnograms:
        shutil.copy(hypnogram, tmp_path)
        runs = mne.read_annotations(hypnogram)
        assert runs.description[-1] == "Sleep stage ?", "the signals end before it"
        silent_psg(tmp_path / f"{hypnogram.name[:7]}0-PSG.edf", int(runs.onset[-1]), hypnogram)
    report = Report()
    table = index(tmp_path, report, wake_minutes=1e6)
    assert report.bad == []
    table["y"] = table[list(STAGES)].to_numpy().argmax(1)
    counts = np.zeros(5, int)
    for night, rows in table.groupby(table["record_id"].str[:6]):
        y = np.load(real / f"{night}E0_bandpower.npz")["y"]
        assert len(y) == (951 if night == "SC4011" else len(rows))
        np.testing.assert_array_equal(rows["y"].to_numpy()[: len(y)], y)
        counts += np.bincount(y, minlength=5)
    assert counts.tolist() == [29467, 1436, 6798, 2116, 2635]
    last = table.groupby("psg").tail(1)
    windows = list(read(tmp_path, last, report))
    assert report.bad == [] and all(np.abs(window[:3]).max() < 1 for window in windows)
    near = index(tmp_path, Report())
    assert (near["W"] == 0).sum() == (table["W"] == 0).sum() and near["W"].sum() < table["W"].sum() / 3
