"""Hashes of files are right whatever changes, and unchanged files are not read again."""

import hashlib
import os
from pathlib import Path

import pytest

from data_partitions import file_hashes
from data_partitions.file_hashes import FileHashes


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
