"""`condi audit`: shows a site's audit log, and verifies that it was only appended to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from client_app.join.launch import default_audit_folder
from data_partitions.table import Table, format_number

HASH_DIGITS = 12  # of a hash in the table
OTHER_FIELDS = ("time", "kind", "run", "message", "previous")  # in other columns, or of no use to a reader


def audit(
    log: Annotated[
        Path | None,
        typer.Argument(help="Audit log of a site. Default: the only one in the user's folder of state."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only verify that no line was changed, removed or moved.")
    ] = False,
    run: Annotated[
        int | None, typer.Option(help="Show only the entries of the run with this number.")
    ] = None,
) -> None:
    """Show what a site was asked for, what left it, and what its policy refused.

    Each entry has the hash of the one before it. Exit with 1, and with the
    number of the line, if a line was changed, removed, inserted or moved. Note
    the last hash elsewhere: entries that are missing at the end, and a file that
    was written anew, show only there.

    Example: condi audit ~/.local/state/condi/audit/north.jsonl --verify
    """
    from client_app.node.audit_log import AuditLogError, read_entries, verify_chain
    from data_partitions.console import one_sentence_errors

    with one_sentence_errors(AuditLogError):
        path = log or _find_log()
        chain = verify_chain(path)
        if not verify:
            entries = [entry for entry in read_entries(path) if run is None or entry.get("run") == run]
            rows = [[_local_time(entry), _name(entry), _describe(entry)] for entry in entries]
            typer.echo(Table("", ["time", "entry", "what"], rows).to_text(shutil.get_terminal_size().columns))
        typer.echo(f"{path}: {chain.entries} entries, none was changed. Hash of the last: {chain.last_hash}")
        if chain.torn_bytes:
            typer.echo(f"After them are {chain.torn_bytes} bytes of an entry that a crash left incomplete.")


def _find_log() -> Path:
    folder = default_audit_folder()
    logs = sorted(folder.glob("*.jsonl"))
    if len(logs) != 1:
        names = ", ".join(str(path) for path in logs) or f"there is none in {folder}"
        raise typer.BadParameter(f"name an audit log: {names}")
    return logs[0]


def _local_time(entry: dict[str, Any]) -> str:
    from datetime import datetime

    return datetime.fromisoformat(entry["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _name(entry: dict[str, Any]) -> str:
    run = f"of run {entry['run']}" if "run" in entry and entry["kind"] != "run" else str(entry.get("run", ""))
    return " ".join(part for part in (entry["kind"], entry.get("message", ""), run) if part)


def _describe(entry: dict[str, Any]) -> str:
    """Return the fields of an entry on a line, with short hashes and without what is nested."""
    parts = []
    for name, value in entry.items():
        if name in OTHER_FIELDS or value in ("", {}, []):
            continue
        if name == "reason":
            parts.append(value)
        elif name == "arrays":
            parts.append(f"{sum(map(len, value.values()))} arrays")
        elif name == "values":
            numbers = [pair for record in value.values() for pair in record.items()]
            parts += [f"{key} {format_number(n)}" for key, n in numbers if isinstance(n, float)]
        else:
            parts.append(f"{name.replace('_', ' ')} {_shorten(value)}")
    return ", ".join(parts)


def _shorten(value: Any) -> str:
    if isinstance(value, dict):
        return f"({len(value)})"
    return value[:HASH_DIGITS] if isinstance(value, str) and len(value) == 64 else str(value)
