"""Nights of Sleep-EDF: their subjects and splits, unusable nights, and generated nights."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from data_partitions import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.sleep_edf import index, read
from data_partitions.splits import hash_splits
from tests.helpers.generated_sleep_edf import (
    write_coded_night,
    write_hypnogram,
)
from tests.helpers.sleep_edf_files import (
    SLEEP,
    STAGES,
    change_bytes,
    read_windows,
    write_distinct_night,
)

# --- nights, subjects, splits


@pytest.fixture
def five_subjects(tmp_path):
    for subject in range(5):
        for night in (1, 2):
            write_distinct_night(tmp_path / "sleep-cassette", f"SC4{subject:02d}{night}", SLEEP)
    return tmp_path


def test_the_index_has_the_epochs_of_all_nights(five_subjects):
    calls = []
    table = index(five_subjects, PreparationLog(progress=lambda *call: calls.append(call)))
    assert calls == [("reading headers", i, 10) for i in range(1, 11)]
    assert {"record_id", "recording_id", "patient_id", "split", "site", *STAGES, "start"} <= set(table)
    assert table["record_id"].is_unique and len(table) == 10 * 14
    assert table["record_id"].tolist()[:3] == ["SC4001-0000", "SC4001-0001", "SC4001-0002"]
    assert table["record_id"].str[3:5].tolist() == table["patient_id"].tolist()
    assert set(table["site"]) == {""}
    assert table["file"].iloc[0] == "sleep-cassette/SC4001E0-PSG.edf"


def test_both_nights_of_a_subject_are_in_one_split(five_subjects):
    table = index(five_subjects, PreparationLog())
    splits = table.groupby("patient_id")["split"].agg(["first", "nunique", "size"])
    assert splits["nunique"].tolist() == [1] * 5 and splits["size"].tolist() == [28] * 5
    assert Counter(splits["first"]) == {"train": 3, "val": 1, "test": 1}
    shares = {"train": 0.6, "val": 0.2, "test": 0.2}
    assert splits["first"].to_dict() == hash_splits("sleep-edf", [f"{i:02d}" for i in range(5)], shares)


def test_an_unusable_night_moves_no_subject_to_another_split(five_subjects):
    before = index(five_subjects, PreparationLog()).set_index("record_id")["split"]
    for night in (1, 2):
        (five_subjects / f"sleep-cassette/SC402{night}EC-Hypnogram.edf").unlink()
    after = index(five_subjects, PreparationLog()).set_index("record_id")["split"]
    assert len(after) == 8 * 14
    assert (before[after.index] == after).all()


def test_telemetry_nights_are_excluded_with_one_note(tmp_path):
    for name in ("ST7011J0-PSG", "ST7011JP-Hypnogram", "ST7022J0-PSG", "ST7022JM-Hypnogram"):
        (tmp_path / f"{name}.edf").write_bytes(b"")
    log = PreparationLog()
    with pytest.raises(DataError, match="has only 2 telemetry nights: give a folder with cassette nights"):
        index(tmp_path, log)
    write_coded_night(tmp_path, "SC4001", SLEEP)
    log = PreparationLog()
    assert len(index(tmp_path, log)) == 14
    assert log.rejected == []
    note = "Excluded because they have no airflow, and their EMG is at 100 Hz: 2 telemetry nights (ST7)."
    assert log.notes == [note]


def test_a_folder_without_nights_is_refused(tmp_path):
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="has no nights: give a folder with .* SC4001E0-PSG.edf and"):
            index(source, PreparationLog())


# --- unusable nights


def _no_annotations(psg, hypnogram):
    content = hypnogram.read_bytes()
    first = content.index(b"\x14\x14\x00", 512) + 3  # what follows the start of the only record
    hypnogram.write_bytes(content[:first] + bytes(len(content) - first))


def _runs(*runs):
    return lambda psg, hypnogram: write_hypnogram(hypnogram, list(runs))


REJECTED = {
    "no hypnogram": (
        lambda psg, hypnogram: hypnogram.unlink(),
        "SC4011 has 0 files of annotations, where one was expected",
    ),
    "two hypnograms": (
        lambda psg, hypnogram: shutil.copy(hypnogram, hypnogram.parent / "SC4011EH-Hypnogram.edf"),
        "SC4011 has 2 files of annotations, where one was expected",
    ),
    "text in another encoding": (
        lambda psg, hypnogram: change_bytes(hypnogram, hypnogram.read_bytes().index(b"Sleep"), b"Schl\xe4"),
        'annotations have "Schlä stage W", which no class has: correct it to "Sleep stage W"',
    ),
    "scored twice": (
        _runs((0, 90, "Sleep stage W"), (60, 60, "Sleep stage 2")),
        "has annotations that overlap at 60 s",
    ),
    "empty psg": (lambda psg, hypnogram: os.truncate(psg, 0), "SC4011E0-PSG.edf is not an EDF"),
    "another file": (
        lambda psg, hypnogram: hypnogram.write_text("<html>not found</html>" * 50),
        "SC4011EC-Hypnogram.edf",
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_an_unusable_night_is_rejected_in_one_sentence_and_the_others_are_read(tmp_path, case):
    damage, sentence = REJECTED[case]
    for night in ("SC4001", "SC4011"):
        write_distinct_night(tmp_path, night, SLEEP)
    before = index(tmp_path, PreparationLog())
    damage(tmp_path / "SC4011E0-PSG.edf", tmp_path / "SC4011EC-Hypnogram.edf")
    log = PreparationLog()
    table = index(tmp_path, log)
    assert len(log.rejected) == 1 and "\n" not in log.rejected[0]
    assert sentence in log.rejected[0] and "SC4011" in log.rejected[0]
    assert table["record_id"].tolist() == before["record_id"].tolist()[:14]
    assert set(table["patient_id"]) == {"00"}
    assert len(read_windows(tmp_path, table)) == 14
    with pytest.raises(DataError) as error:
        index(tmp_path, PreparationLog(strict=True))
    assert str(error.value) == log.rejected[0]
    (tmp_path / "SC4001EC-Hypnogram.edf").unlink()
    with pytest.raises(DataError, match="has a window; the first of 2 rejected records: recording SC4001"):
        index(tmp_path, PreparationLog())


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: write_distinct_night(folder, "SC4011", "?MM?"),
        lambda folder: write_distinct_night(folder, "SC4011", "WWW?"),
        lambda folder: write_distinct_night(folder, "SC4011", "WW22", seconds=60),
        lambda folder: _no_annotations(None, folder / "SC4011EC-Hypnogram.edf"),
    ],
)
def test_a_night_without_sleep_has_no_windows(tmp_path, damage):
    for night in ("SC4001", "SC4011"):
        write_distinct_night(tmp_path, night, SLEEP)
    damage(tmp_path)
    table = index(tmp_path, PreparationLog())
    assert set(table["patient_id"]) == {"00"} and len(table) == 14


def test_a_night_damaged_after_the_index_has_no_windows(tmp_path):
    for night in ("SC4001", "SC4011", "SC4021"):
        write_distinct_night(tmp_path, night, SLEEP)
    table = index(tmp_path, PreparationLog())
    os.truncate(tmp_path / "SC4011E0-PSG.edf", 0)
    log = PreparationLog()
    windows = list(read(tmp_path, table, log))
    assert [window is None for window in windows] == [False] * 14 + [True] * 14 + [False] * 14
    assert len(log.rejected) == 1 and "SC4011E0-PSG.edf" in log.rejected[0]
    with pytest.raises(DataError, match="SC4011E0-PSG.edf"):
        list(read(tmp_path, table, PreparationLog(strict=True)))


def test_mne_is_quiet_and_imported_only_when_needed(tmp_path, capfd, recwarn):
    write_coded_night(tmp_path, "SC4001", SLEEP)
    read_windows(tmp_path, index(tmp_path, PreparationLog()))
    assert capfd.readouterr() == ("", "") and not recwarn.list
    program = "import sys, data_partitions.sources.sleep_edf; sys.exit('mne' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == 0
