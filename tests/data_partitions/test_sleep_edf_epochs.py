"""Epochs of Sleep-EDF have the samples of the file at their time, and are selected by the rules."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest

from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.sleep_edf import index, read, schema
from tests.helpers.generated_sleep_edf import (
    CHANNELS,
    EVENING,
    TEXTS,
    write_coded_night,
    write_night,
    write_nights,
)
from tests.helpers.real_data import require_real
from tests.helpers.sleep_edf_files import (
    SLEEP,
    STAGES,
    change_bytes,
    change_psg,
    copy_signal,
    list_epoch_numbers,
    list_stages,
    read_windows,
)
from tests.helpers.sleep_edf_reference import reference_night

CHANNELS_READ = {name: CHANNELS[name] for name in list(CHANNELS)[:5]}
STAGE_OF_CODE = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "R": "REM"}


def test_the_schema_has_all_fields_of_a_manifest_except_those_of_the_site(tmp_path):
    rest = {"site": "a", "windows": {"train": 1, "val": 0, "test": 0}, "made_by": "a test"}
    manifest = Manifest(**schema(tmp_path, wake_minutes=12.5), **rest)
    assert manifest.shape == (5, 30, 100)
    assert [m.name for m in manifest.modalities] == ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG", "Resp", "EMG"]
    assert [m.unit for m in manifest.modalities] == ["uV", "uV", "uV", "a.u.", "uV"]
    assert [m.rate for m in manifest.modalities] == [100, 100, 100, 1, 1]
    assert manifest.labels == ("W", "N1", "N2", "N3", "REM") and manifest.task == "single-label"
    assert "at most 12.5 min before" in manifest.label_rule


@pytest.mark.parametrize("minutes", [-1.0, float("nan")])
def test_wake_minutes_out_of_range_are_refused(tmp_path, minutes):
    write_coded_night(tmp_path, "SC4001", SLEEP)
    with pytest.raises(DataError, match="wake_minutes must be 0 or more, it is"):
        index(tmp_path, PreparationLog(), wake_minutes=minutes)


# --- alignment of labels and samples


@pytest.mark.parametrize("record_seconds", [20, 30, 60])
@pytest.mark.parametrize("late", [0, 7, 90, -30, -45])
def test_each_label_belongs_to_its_samples(tmp_path, late, record_seconds):
    write_coded_night(tmp_path, "SC4001", SLEEP, late=late, record_seconds=record_seconds)
    table = index(tmp_path, PreparationLog())
    windows = read_windows(tmp_path, table)
    starts = [late + 30 * k for k in range(len(SLEEP))]
    inside = [k for k, start in enumerate(starts) if 0 <= start <= 450 and SLEEP[k] not in "?M"]
    assert list_stages(table) == [STAGE_OF_CODE[SLEEP[k]] for k in inside]
    assert list_epoch_numbers(table) == [starts[k] // 30 for k in inside]
    for k, window in zip(inside, windows, strict=True):
        value = 10 * (1 + list(TEXTS).index(SLEEP[k]))
        np.testing.assert_allclose(window[:3], np.full((3, 30, 100), value), atol=0.01)
        np.testing.assert_allclose(window[3:, :, 0], np.full((2, 30), value), atol=0.01)
    assert np.isnan(windows[:, 3:, :, 1:]).all()


@pytest.mark.parametrize("days", [-65, 1, 400])
def test_an_error_in_the_date_of_a_hypnogram_has_no_effect(tmp_path, days):
    write_coded_night(tmp_path / "a", "SC4001", SLEEP, late=30)
    start = EVENING + timedelta(days=days, seconds=30)
    write_coded_night(tmp_path / "b", "SC4001", SLEEP, late=30, start=start)
    pd.testing.assert_frame_equal(
        index(tmp_path / "a", PreparationLog()), index(tmp_path / "b", PreparationLog())
    )


def test_a_hypnogram_may_start_after_midnight_and_its_signals_before(tmp_path):
    write_coded_night(tmp_path, "SC4001", SLEEP, late=90)
    change_bytes(tmp_path / "SC4001E0-PSG.edf", 176, b"23.59.00")
    change_bytes(tmp_path / "SC4001EC-Hypnogram.edf", 176, b"00.00.30")
    table = index(tmp_path, PreparationLog())
    assert list_epoch_numbers(table)[0] == 3
    np.testing.assert_allclose(read_windows(tmp_path, table)[0, 0], 10, atol=0.01)


def test_respiration_is_not_converted_whatever_its_unit(tmp_path):
    write_coded_night(tmp_path, "SC4001", SLEEP)

    def in_uv(signal):
        return copy_signal(signal, physical_dimension="uV") if signal.label.startswith("Resp") else signal

    change_psg(tmp_path / "SC4001E0-PSG.edf", in_uv)
    windows = read_windows(tmp_path, index(tmp_path, PreparationLog()))
    np.testing.assert_allclose(windows[:, 3, :, 0], windows[:, 0, :, 0], atol=0.01)


@pytest.mark.parametrize("wake_minutes", [30.0, 2.0])
def test_windows_are_those_that_mne_reads_cell_for_cell(tmp_path, wake_minutes):
    write_nights(tmp_path, subjects=2, nights=2, epochs=120)
    table = index(tmp_path, PreparationLog(), wake_minutes=wake_minutes)
    windows = read_windows(tmp_path, table)
    for night, rows in table.groupby("recording_id"):
        starts, stages, expected = reference_night(
            tmp_path / f"{night}E0-PSG.edf", tmp_path / f"{night}EC-Hypnogram.edf", wake_minutes
        )
        assert rows["start"].tolist() == starts.tolist()
        assert list_stages(rows) == stages
        np.testing.assert_array_equal(windows[rows.index], expected)


# --- selection of epochs


@pytest.mark.parametrize(
    ("minutes", "before", "after"),
    [(30.0, 60, 60), (30.4, 60, 60), (30.5, 61, 61), (0, 0, 0), (0.5, 1, 1), (1e9, 70, 65)],
)
def test_wake_before_and_after_sleep_is_limited(tmp_path, minutes, before, after):
    write_coded_night(tmp_path, "SC4001", "W" * 70 + "1" + "W" * 75 + "R" + "W" * 65)
    log = PreparationLog()
    table = index(tmp_path, log, wake_minutes=minutes)
    assert list_epoch_numbers(table) == list(range(70 - before, 147 + after)), (
        "wake between sleep epochs is always included"
    )
    dropped = 70 + 65 - before - after
    note = f"{dropped} windows are left out, as they are W more than {minutes:g} min before the first or"
    assert [sentence[: len(note)] for sentence in log.counted()] == ([note] if dropped else [])


def test_movement_and_unscored_epochs_are_dropped_and_counted(tmp_path):
    write_coded_night(tmp_path, "SC4001", "?W1M2??3M4R?")
    log = PreparationLog()
    table = index(tmp_path, log)
    assert list_stages(table) == ["W", "N1", "N2", "N3", "N3", "REM"]
    assert list_epoch_numbers(table) == [1, 2, 4, 7, 9, 10]
    assert (table[list(STAGES)].sum(axis=1) == 1).all()
    assert sorted(log.counted()) == [
        '2 windows are left out, as they are "Movement time".',
        '4 windows are left out, as they are "Sleep stage ?".',
    ]


def test_annotations_after_the_end_of_the_signals_are_ignored(tmp_path):
    write_coded_night(tmp_path, "SC4001", "W2" * 8 + "?" * 2000, seconds=320, record_seconds=20)
    log = PreparationLog()
    table = index(tmp_path, log)
    assert list_epoch_numbers(table) == list(range(10)), "the eleventh epoch has 20 s of signal"
    (note,) = log.notes
    assert note.startswith("task.classes: no annotation has the class N1")
    assert np.isfinite(read_windows(tmp_path, table)[:, :3]).all()


# --- the real data set


@pytest.fixture
def real() -> Path:
    """A folder with hypnograms of Sleep-EDF and npz files with the stage of each scored epoch."""
    return require_real("sleep-edf")


def write_silent_psg(file, seconds, like):
    """Write a PSG of zeros as a sparse file, with the start time of the file `like`."""
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


def test_the_sample_of_sleep_edf_has_known_counts(real, tmp_path):
    hypnograms = sorted(real.glob("SC4*-Hypnogram.edf"))
    if len(hypnograms) != 16:
        pytest.skip("another part of Sleep-EDF than the numbers are for")
    for hypnogram in hypnograms:
        shutil.copy(hypnogram, tmp_path)
        runs = mne.read_annotations(hypnogram)
        assert runs.description[-1] == "Sleep stage ?", "the signals end before it"
        write_silent_psg(tmp_path / f"{hypnogram.name[:7]}0-PSG.edf", int(runs.onset[-1]), hypnogram)
    log = PreparationLog()
    table = index(tmp_path, log, wake_minutes=1e6)
    assert log.rejected == []
    table["y"] = table[list(STAGES)].to_numpy().argmax(1)
    counts = np.zeros(5, int)
    for night, rows in table.groupby(table["record_id"].str[:6]):
        y = np.load(real / f"{night}E0_bandpower.npz")["y"]
        assert len(y) == (951 if night == "SC4011" else len(rows))
        np.testing.assert_array_equal(rows["y"].to_numpy()[: len(y)], y)
        counts += np.bincount(y, minlength=5)
    assert counts.tolist() == [29467, 1436, 6798, 2116, 2635]
    for night, rows in table.groupby("recording_id"):
        hypnogram = next(tmp_path.glob(f"{night}*-Hypnogram.edf"))
        starts, stages, _ = reference_night(next(tmp_path.glob(f"{night}*-PSG.edf")), hypnogram, 1e6)
        assert (rows["start"].tolist(), list_stages(rows)) == (starts.tolist(), stages)
    last = table.groupby("file").tail(1)
    windows = list(read(tmp_path, last, log))
    assert log.rejected == [] and all(np.abs(window[:3]).max() < 1 for window in windows)
    near = index(tmp_path, PreparationLog())
    assert (near["W"] == 0).sum() == (table["W"] == 0).sum() and near["W"].sum() < table["W"].sum() / 3
