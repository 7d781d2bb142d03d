"""The audit log: what was appended can be read, and no line can be changed, removed or moved unnoticed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from client_app.node.audit_log import FIRST_HASH, AuditLogError, append_entry, read_entries, verify_chain


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "audit" / "log.jsonl"
    for number in range(4):
        append_entry(path, "reply", number=number)
    return path


def numbers(path) -> list[int]:
    return [entry["number"] for entry in read_entries(path) if entry["kind"] == "reply"]


def test_each_line_has_the_hash_of_the_one_before_it(log):
    lines = log.read_bytes().splitlines()
    hashes = [hashlib.sha256(line).hexdigest() for line in lines]
    assert [json.loads(line)["previous"] for line in lines] == [FIRST_HASH, *hashes[:-1]]
    assert verify_chain(log) == (4, hashes[-1], 0)
    assert numbers(log) == [0, 1, 2, 3]


def test_only_the_site_can_read_the_log(log):
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_an_entry_longer_than_what_is_read_at_once(log):
    append_entry(log, "reply", number=4, text="x" * 200_000)
    append_entry(log, "reply", number=5)
    assert numbers(log) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace(b'"number": 1', b'"number": 7'), *lines[2:]], 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [lines[0], b"no entry", *lines[1:]], 2),
        (lambda lines: [lines[0], b"", *lines[1:]], 2),
        (lambda lines: [lines[0], lines[1][:20], *lines[2:]], 3),
    ],
    ids=["changed", "removed", "first removed", "moved", "repeated", "inserted", "blank", "cut"],
)
def test_the_first_line_that_is_wrong_is_named(log, change, line):
    log.write_bytes(b"\n".join(change(log.read_bytes().splitlines())) + b"\n")
    with pytest.raises(AuditLogError) as error:
        verify_chain(log)
    assert error.value.line == line and f"{log}, line {line}: " in str(error.value)


@pytest.mark.parametrize("remaining", [1, 20, -2], ids=["a byte", "a part", "all but the bracket"])
def test_a_line_that_a_crash_left_incomplete_is_marked_by_the_next_entry(log, remaining):
    lines = log.read_bytes().splitlines()
    torn = lines[3][:remaining]
    log.write_bytes(b"\n".join([*lines[:3], torn]))
    assert verify_chain(log) == (3, hashlib.sha256(lines[2]).hexdigest(), len(torn))

    append_entry(log, "reply", number=4)
    mark = read_entries(log)[3]
    assert (mark["kind"], mark["bytes"]) == ("torn-line", len(torn))
    assert numbers(log) == [0, 1, 2, 4]
    assert log.read_bytes().splitlines()[3] == torn

    whole = log.read_bytes()
    log.write_bytes(whole.replace(b"\n" + torn + b"\n", b"\n" + torn + b"x\n"))
    with pytest.raises(AuditLogError, match="line 4: a line that is not an entry was changed"):
        verify_chain(log)
    log.write_bytes(whole.replace(b"\n" + torn + b"\n", b"\n"))
    with pytest.raises(AuditLogError, match="line 4: "):
        verify_chain(log)


def test_an_entry_that_lost_only_its_new_line(log):
    log.write_bytes(log.read_bytes().removesuffix(b"\n"))
    append_entry(log, "reply", number=4)
    assert numbers(log) == [0, 1, 2, 3, 4]


def test_crashes_one_after_the_other(log):
    with log.open("ab") as file:
        file.write(b'{"time": \n{"ti')
    append_entry(log, "reply", number=4)
    assert numbers(log) == [0, 1, 2, 3, 4] and verify_chain(log).entries == 6


def test_a_log_that_begins_with_an_incomplete_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"ti')
    append_entry(path, "reply", number=0)
    assert numbers(path) == [0]


def test_a_disk_that_is_full_in_the_middle_of_an_entry(log, monkeypatch):
    write = os.write

    def write_a_part(descriptor, content):
        patch.setattr(os, "write", fail)
        return write(descriptor, content[:30])

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_a_part)
        with pytest.raises(OSError, match="No space left"):
            append_entry(log, "reply", number=4)
    append_entry(log, "reply", number=5)
    assert numbers(log) == [0, 1, 2, 3, 5]


def test_several_processes_write_to_one_log(tmp_path):
    path = tmp_path / "audit" / "log.jsonl"
    code = (
        "import sys; from pathlib import Path; from client_app.node.audit_log import append_entry\n"
        "for i in range(25): append_entry(Path(sys.argv[1]), 'reply', number=i)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert sorted(numbers(path)) == sorted(list(range(25)) * 4)


def test_an_entry_waits_for_another_process_that_writes(log):
    before = log.read_bytes()
    with log.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=append_entry, args=(log, "reply"), kwargs={"number": 4})
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and log.read_bytes() == before
    thread.join(10)
    assert numbers(log)[-1] == 4


def test_a_log_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify_chain(tmp_path / "log.jsonl")
