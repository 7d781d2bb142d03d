import errno
import itertools
import os

import pytest

from data_partitions import DataError
from data_partitions.partition import Partition, write_partition
from data_partitions.storage import atomic_directory, atomic_write
from tests.helpers.small_partition import index_of, manifest_of, windows_of
from tests.helpers.umask import umask


@pytest.fixture
def calls(monkeypatch):
    """The paths that are flushed to disk and renamed, in order."""
    calls, fsync = [], os.fsync

    def flush(descriptor):
        calls.append(("flush", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def recorder(function):
        def rename(before, after):
            calls.append(("rename", os.fspath(before), os.fspath(after)))
            function(before, after)

        return rename

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", recorder(os.replace))
    monkeypatch.setattr(os, "rename", recorder(os.rename))
    return calls


def test_a_directory_appears_only_when_complete(tmp_path):
    with atomic_directory(tmp_path / "a" / "b") as temp:
        (temp / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
        assert temp.parent == tmp_path / "a", "a sibling, so that renaming is atomic"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_directory_does_not_appear(tmp_path, error):
    (tmp_path / "a").mkdir()
    with pytest.raises(error), atomic_directory(tmp_path / "a" / "b" / "c") as temp:
        (temp / "file").write_text("x")
        raise error
    assert list((tmp_path / "a").iterdir()) == [], "only the parents that were made for it are removed"


def test_a_directory_that_appeared_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(DataError, match="exists already"), atomic_directory(tmp_path / "a"):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "other").write_text("unchanged")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "other").read_text() == "unchanged"


def test_a_dangling_link_counts_as_existing(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="exists already"), atomic_directory(tmp_path / "a"):
        pass


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    with atomic_write(path, mode=0o640) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_is_flushed_to_disk_and_then_its_folder(tmp_path, calls):
    with atomic_write(tmp_path / "checkpoint") as file:
        file.write(b"content")
    flushed, renamed, folder = calls
    assert flushed == ("flush", renamed[1]) and renamed[2] == str(tmp_path / "checkpoint")
    assert folder == ("flush", str(tmp_path))


def test_a_partition_is_flushed_to_disk_before_it_appears(tmp_path, calls):
    path = tmp_path / "new" / "north"
    write_partition(path, manifest_of(), index_of(), windows_of())
    position = [call[0] for call in calls].index("rename")
    temporary = calls[position][1]
    flushed = {call[1] for call in calls[:position]}
    assert flushed == {str(tmp_path)} | {
        temporary + str(file).removeprefix(str(path)) for file in (path, *path.rglob("*"))
    }
    assert calls[position:] == [("rename", temporary, str(path)), ("flush", str(tmp_path / "new"))]


@pytest.mark.parametrize("mask", [0, 0o027])
def test_partitions_are_private_to_their_user_also_while_they_are_written(tmp_path, mask):
    path = tmp_path / "new" / "north"

    def windows():
        for window in windows_of():
            (temporary,) = (p for p in path.parent.iterdir() if p.is_dir())
            assert temporary.stat().st_mode & 0o777 == 0o700
            yield window

    with umask(mask):
        write_partition(path, manifest_of(), index_of(), windows())
    modes = {p: p.stat().st_mode & 0o777 for p in (path.parent, *path.parent.rglob("*"))}
    assert len(modes) == 7
    assert all(mode == (0o700 if p.is_dir() else 0o600) for p, mode in modes.items()), modes


@pytest.fixture
def fill_disk(monkeypatch):
    """`fill_disk(n)`: the n-th flush to disk, from 0, and all after it find the disk full."""
    fsync = os.fsync

    def fill(flushes):
        remaining = [flushes]

        def flush(descriptor):
            if not remaining[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            remaining[0] -= 1
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", flush)

    return fill


def test_a_disk_that_is_full_at_any_moment_leaves_no_partition(tmp_path, fill_disk):
    for flushes in itertools.count():
        fill_disk(flushes)
        try:
            write_partition(tmp_path / "new" / "north", manifest_of(), index_of(), windows_of())
        except (OSError, DataError) as error:
            assert "No space left on device" in str(error)
        if (tmp_path / "new" / "north").exists():
            break
        assert not list(tmp_path.iterdir())
    assert flushes == 1 + 6, "the parent; four files and two directories"
    fill_disk(100)
    Partition.open(tmp_path / "new" / "north")


def test_a_disk_that_is_full_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path, fill_disk):
    path = tmp_path / "checkpoint"
    path.write_bytes(b"old")
    for flushes, content in ((0, b"old"), (1, b"new")):  # of the file, and then of its folder
        fill_disk(flushes)
        with pytest.raises(OSError), atomic_write(path) as file:
            file.write(b"new")
        assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]
