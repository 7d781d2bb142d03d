"""Hashes of files and fingerprints are right whatever changes, and unchanged files are not read again."""

import hashlib
import os
from pathlib import Path

import pytest

from data_partitions import file_hashes
from data_partitions.file_hashes import FileHashes
from data_partitions.partition import Partition, write_partition
from tests.helpers.small_partition import index_of, manifest_of, windows_of


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.npy"
    path.write_bytes(b"a" * 1000)
    return path


@pytest.fixture
def later(monkeypatch):
    """Let a minute pass, so that changes before are settled."""
    now = file_hashes.time.time_ns
    monkeypatch.setattr(file_hashes.time, "time_ns", lambda: now() + 60 * 10**9)


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read."""
    files, digest = [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, *rest: files.append(Path(file.name)) or digest(file, *rest)
    )
    return files


def change(path, keep_times=True):
    """Change a byte in the middle; size and time of modification stay."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_unchanged_file_is_read_once(file, later, read):
    first = FileHashes()
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    assert first.sha256(file) == expected and read == [file]
    second = FileHashes(first.files)
    assert second.sha256(file) == expected and read == [file]
    assert second.files == first.files and list(first.files) == [str(file)]


def test_a_changed_file_of_the_same_size_and_time_is_read_again(file, later, read):
    first = FileHashes()
    before = first.sha256(file)
    change(file)
    second = FileHashes(first.files)
    assert second.sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest() != before
    assert read == [file, file]


def test_a_file_that_has_just_changed_is_not_remembered(file, read):
    first = FileHashes()
    first.sha256(file)
    assert not first.files, "another change could leave size and times as they are"


def test_a_file_that_changes_while_it_is_read_is_not_remembered(file, later, monkeypatch):
    digest = hashlib.file_digest

    def change_after(opened, name):
        result = digest(opened, name)
        change(file)
        return result

    monkeypatch.setattr(hashlib, "file_digest", change_after)
    hashes = FileHashes()
    hashes.sha256(file)
    assert not hashes.files


def test_fingerprint_changes_with_any_part_of_the_content(partition, tmp_path):
    before = partition.fingerprint()
    assert len(before) == 64 and Partition.open(partition.path).fingerprint() == before
    write_partition(tmp_path / "same", manifest_of(), index_of(), windows_of())
    assert Partition.open(tmp_path / "same").fingerprint() == before
    write_partition(tmp_path / "values", manifest_of(), index_of(), windows_of(seed=1))
    write_partition(tmp_path / "ids", manifest_of(), index_of(prefix="q"), windows_of())
    write_partition(tmp_path / "manifest", manifest_of(version="2"), index_of(), windows_of())
    others = {Partition.open(tmp_path / name).fingerprint() for name in ("values", "ids", "manifest")}
    assert len(others | {before}) == 4


def test_fingerprint_changes_with_any_byte_of_a_long_file(tmp_path):
    counts = (3000, 1, 1)
    windows = windows_of(1).repeat(sum(counts), axis=0)
    write_partition(tmp_path / "a", manifest_of(counts=counts), index_of(counts), windows)
    partition = Partition.open(tmp_path / "a")
    fingerprints = {partition.fingerprint()}
    file = tmp_path / "a" / "values" / "EEG Fpz-Cz.npy"
    assert file.stat().st_size > 3 * 2**20
    for position in (200, 2**20 + 1, file.stat().st_size // 2, file.stat().st_size - 1):
        with open(file, "r+b") as opened:
            opened.seek(position)
            opened.write(b"\x01")
        fingerprints.add(partition.fingerprint())
    assert len(fingerprints) == 5
