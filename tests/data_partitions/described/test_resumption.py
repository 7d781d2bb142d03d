"""A preparation that was interrupted goes on where it was."""

import json
import os

import numpy as np
import pytest

from data_partitions.description.reading import read_description
from data_partitions.errors import DataError
from data_partitions.locks import InUseError
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_site
from data_partitions.resumption import JOURNAL_FILE, Resumption
from data_partitions.sources import ptb_xl
from data_partitions.sources.described.reader import DescribedDataset
from data_partitions.sources.described.sampled import SampledRecordings
from data_partitions.storage import reserve_output
from data_partitions.unfinished import unfinished_folder
from tests.helpers.described import write_description
from tests.helpers.holter_files import RATE, write_holters


@pytest.fixture
def dataset(tmp_path):
    """Description and source; recording r01 has values out of range, and r02 a window without samples."""
    source = write_holters(tmp_path / "in")
    for name, value in (("r01", 20_000), ("r02", -(2**15))):
        samples = np.fromfile(source / f"{name}.dat", "<i2")
        samples[: 2 * 10 * RATE] = value
        samples.tofile(source / f"{name}.dat")
    (source / "r03.dat").write_bytes(b"")
    return DescribedDataset(read_description(write_description(tmp_path))), source


def interrupt_after(monkeypatch, recordings, error=KeyboardInterrupt):
    """Raise an error when more than so many recordings are read; return the list of those that are."""
    read = SampledRecordings._read_recording
    opened = []

    def interrupted(self, file, part, starts, log):
        opened.append(file.name)
        if len(opened) > recordings:
            raise error
        yield from read(self, file, part, starts, log)

    monkeypatch.setattr(SampledRecordings, "_read_recording", interrupted)
    return opened


def test_an_interrupted_preparation_reads_the_rest_and_gives_the_same_partition(
    dataset, tmp_path, monkeypatch
):
    reader, source = dataset
    complete_log, log = PreparationLog(), PreparationLog()
    complete = prepare_site(reader, source, tmp_path / "complete", "north", log=complete_log)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 5)
        prepare_site(reader, source, tmp_path / "north", "north")
    assert not (tmp_path / "north").exists() and (tmp_path / ".north.partial").is_dir()
    opened = interrupt_after(monkeypatch, 99)
    resumed = prepare_site(reader, source, tmp_path / "north", "north", log=log)
    # A recording counts as read when the next one begins.
    assert len(opened) == len(set(complete.recording_ids)) - 4
    assert {p.name for p in tmp_path.iterdir()} == {"in", "dataset.toml", "complete", "north"}
    assert resumed.fingerprint() == complete.fingerprint()
    assert log.counts == complete_log.counts and log.rejected == complete_log.rejected
    assert log.notes == [*complete_log.notes, "Windows that were read before an interruption: 12."]


@pytest.mark.parametrize("change", ["a file", "the description", "the site"])
def test_a_preparation_of_other_data_begins_again(dataset, tmp_path, monkeypatch, change):
    reader, source = dataset
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 5)
        prepare_site(reader, source, tmp_path / "north", "north")
    site = "north"
    if change == "a file":
        samples = np.fromfile(source / "r00.dat", "<i2")
        (source / "r00.dat").write_bytes(np.append(samples, samples).tobytes())
        header = (source / "r00.hea").read_text()
        (source / "r00.hea").write_text(header.replace("8750", "17500"))
    elif change == "the description":
        path = write_description(tmp_path, ("range = [-10, 10]", "range = [-1, 10]"))
        reader = DescribedDataset(read_description(path))
    else:
        site = "south"
    opened = interrupt_after(monkeypatch, 99)
    partition = prepare_site(reader, source, tmp_path / "north", site)
    assert len(opened) == (11 if change != "the site" else 7)
    assert partition.manifest.site == site


def test_an_error_in_the_data_leaves_nothing_to_go_on_with(dataset, tmp_path, monkeypatch):
    reader, source = dataset
    (source / "r03.dat").write_bytes((source / "r04.dat").read_bytes())
    interrupt_after(monkeypatch, 5, DataError("r05 is damaged"))
    with pytest.raises(DataError, match="damaged"):
        prepare_site(reader, source, tmp_path / "north", "north", log=PreparationLog(strict=True))
    assert {p.name for p in tmp_path.iterdir()} == {"in", "dataset.toml"}


def windows_of(values):
    return [None if value is None else np.full((1, 2), value, np.float32) for value in values]


def read_part(out, count, values=(0, 1, None, 3, 4, 5), recordings="aabbcc"):
    """Read `count` windows of a preparation and interrupt it, or all; return them and what was read anew."""
    anew = []

    def read(first):
        for row in range(first, len(values)):
            anew.append(row)
            yield windows_of(values)[row]

    read_windows = []
    try:
        with (
            unfinished_folder(out) as folder,
            Resumption(folder, "key", (1, 2), PreparationLog()) as resumption,
        ):
            for window in resumption.read(list(recordings), read):
                read_windows.append(window)
                if len(read_windows) == count:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    return read_windows, anew


@pytest.mark.parametrize("count", range(1, 7))
def test_windows_of_complete_recordings_are_not_read_again(tmp_path, count):
    read_part(tmp_path / "out", count)
    windows, anew = read_part(tmp_path / "out", None)
    assert anew == list(range(2 * ((count - 1) // 2), 6))
    for window, expected in zip(windows, windows_of((0, 1, None, 3, 4, 5)), strict=True):
        np.testing.assert_array_equal(window, expected)
    assert not list(tmp_path.iterdir())


def test_a_journal_that_was_cut_off_counts_up_to_its_last_line(tmp_path):
    read_part(tmp_path / "out", 6)
    journal = tmp_path / ".out.partial" / JOURNAL_FILE
    content = journal.read_text()
    assert [json.loads(line) for line in content.splitlines()][0] == "key"
    journal.write_text(content[:-7])
    assert read_part(tmp_path / "out", None)[1] == [2, 3, 4, 5]


def test_damaged_windows_are_refused_and_removed(tmp_path):
    read_part(tmp_path / "out", 6)
    windows = tmp_path / ".out.partial" / "windows.f4"
    windows.write_bytes(bytes([1]) + windows.read_bytes()[1:])
    with pytest.raises(DataError, match="is damaged: repeat the command"):
        read_part(tmp_path / "out", None)
    assert read_part(tmp_path / "out", None)[1] == [0, 1, 2, 3, 4, 5]


def test_two_commands_do_not_write_the_same_directory(dataset, tmp_path):
    reader, source = dataset
    with reserve_output(tmp_path / "north"):
        with pytest.raises(InUseError, match=f"north is in use by process {os.getpid()} on .* since 2"):
            prepare_site(reader, source, tmp_path / "north", "north")
    assert prepare_site(reader, source, tmp_path / "north", "north").manifest.site == "north"


def test_a_path_that_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to .*out \(Not a directory\): choose another path"):
        unfinished_folder(tmp_path / "file" / "out").__enter__()


def test_directories_of_a_killed_command_are_removed(dataset, tmp_path):
    reader, source = dataset
    for name in (".north.0a1b2c3d.tmp", ".north.east.0a1b2c3d.tmp"):
        (tmp_path / name / "values").mkdir(parents=True)
    prepare_site(reader, source, tmp_path / "north", "north")
    assert {p.name for p in tmp_path.iterdir()} == {"in", "dataset.toml", "north", ".north.east.0a1b2c3d.tmp"}


def test_a_data_set_with_its_own_command_goes_on_where_it_was(raw, tmp_path, monkeypatch):
    read, opened = ptb_xl.read_record, []
    complete = prepare_site(ptb_xl, raw, tmp_path / "complete", "hospital-1")

    def interrupted(source, row):
        opened.append(row)
        if len(opened) == 6:
            raise KeyboardInterrupt
        return read(source, row)

    monkeypatch.setattr(ptb_xl, "read_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_site(ptb_xl, raw, tmp_path / "out", "hospital-1")
    resumed = prepare_site(ptb_xl, raw, tmp_path / "out", "hospital-1")
    assert len(opened) == 6 + len(complete) - 4  # a record counts as read when the next one is
    assert resumed.fingerprint() == complete.fingerprint()
    assert {p.name for p in tmp_path.iterdir()} == {"complete", "out"}
