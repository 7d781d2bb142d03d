"""A site's audit log: JSON lines that are only ever appended, each with the SHA-256 of the line before it.

Several processes of a site write to one log: the node, which records what leaves the site, and its apps. The
node config has the path of the log as `audit`. Whoever can write the file can also write all of it anew: note
the hash of the last line elsewhere to notice that.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from data_partitions.storage import sync_directory

FIRST_HASH = "0" * 64  # in place of the hash of a line before the first
TORN_LINE = "torn-line"  # kind of the entry that follows a line which a crash left incomplete
BLOCK_BYTES = 65536


class AuditLogError(Exception):
    """The log is not one that was only appended to; `line` is the number of the first line that is wrong."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.line = line


class ChainSummary(NamedTuple):
    """Entries of an intact log, hash of its last line, and bytes of an incomplete line after it."""

    entries: int
    last_hash: str
    torn_bytes: int


def append_entry(path: Path, kind: str, **fields: Any) -> str:
    """Append an entry, which is on the disk when this returns.

    Parameters
    ----------
    path : Path
        The log. It is made with mode 0600, in a folder of mode 0700, where there is none.
    kind : str
        What the entry is about, such as "reply".
    **fields
        Further values for JSON, without NaN.

    Returns
    -------
    str
        The hash of the entry's line.

    Raises
    ------
    OSError
        The entry could not be written. What remains of it is marked as torn by the next entry.
    """
    with _open_to_append(path) as descriptor:
        last_line, end = _read_end(descriptor)
        previous = _hash(last_line) if last_line else FIRST_HASH
        new = b"" if end.endswith(b"\n") or not (last_line or end) else b"\n"
        if torn := end.removeprefix(b"\n") if last_line else end:
            torn_bytes = torn.removesuffix(b"\n")
            fields_of_mark = {"torn": _hash(torn_bytes), "bytes": len(torn_bytes)}
            mark = _format_entry(TORN_LINE, fields_of_mark, previous)
            new, previous = new + mark + b"\n", _hash(mark)
        line = _format_entry(kind, fields, previous)
        _write_all(descriptor, new + line + b"\n")
        os.fsync(descriptor)
    return _hash(line)


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of an intact log, oldest first; the errors are those of `verify_chain`."""
    return _read_chain(path)[0]


def verify_chain(path: Path) -> ChainSummary:
    """Verify that each line has the hash of the one before it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ChainSummary

    Raises
    ------
    AuditLogError
        A line was changed, removed, inserted or moved. Lines that are missing at the end cannot be noticed.
    OSError
        The log cannot be read.
    """
    return _read_chain(path)[1]


@contextmanager
def _open_to_append(path: Path) -> Iterator[int]:
    """Yield the locked file descriptor of a log, which is made where there is none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if is_new:
            sync_directory(path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _read_end(descriptor: int) -> tuple[bytes, bytes]:
    """Return the last line that is an entry, and what follows it: a new line, or more after a crash."""
    content, start = b"", os.fstat(descriptor).st_size
    while start:
        size = min(BLOCK_BYTES, start)
        start -= size
        content = os.pread(descriptor, size, start) + content
        end = len(content)
        while (cut := content.rfind(b"\n", 0, end)) >= 0 or not start:
            if _parse(line := content[cut + 1 : end]) is not None:
                return line, content[end:]
            if cut < 0:
                break
            end = cut
    return b"", content


def _read_chain(path: Path) -> tuple[list[dict[str, Any]], ChainSummary]:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        *lines, tail = file.read().split(b"\n")
    entries: list[dict[str, Any]] = []
    previous, torn = FIRST_HASH, b""
    first_torn = 0  # number of the first line since the last entry that is none; 0 where there is none
    for number, line in enumerate([*lines, tail] if tail else lines, 1):
        entry = _parse(line)
        if entry is None:
            torn = torn + b"\n" + line if first_torn else line
            first_torn = first_torn or number
            continue
        if entry.get("previous") != previous:
            reason = (
                "the line before it is not the one that it was written after: a line was changed, removed, "
                "inserted or moved"
            )
            raise AuditLogError(path, number, reason)
        if entry.get("torn") != (_hash(torn) if first_torn else None):
            raise AuditLogError(
                path, first_torn or number, "a line that is not an entry was changed or inserted"
            )
        entries.append(entry)
        previous, torn, first_torn = _hash(line), b"", 0
    return entries, ChainSummary(len(entries), previous, len(torn))


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line; None for a line that is not an entry."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _format_entry(kind: str, fields: dict[str, Any], previous: str) -> bytes:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "kind": kind, **fields, "previous": previous}, allow_nan=False).encode()


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
