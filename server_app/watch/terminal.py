"""Show a run in the terminal, again and again while it lasts."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

STYLES = {
    "running": "bold green",
    "completed": "bold green",
    "failed": "bold red",
    "stopped": "bold red",
    "silent": "bold red",
}
MAX_ROUNDS = 8  # that are shown, the last ones
MAX_FAILURES = 5


def draw(snapshot: dict[str, Any]) -> RenderableType:
    """Return a snapshot of a run as tables; no text of a site is read as markup."""
    parts: list[RenderableType] = [_headline(snapshot)]
    if snapshot["doing"]:
        parts.append(Text(snapshot["doing"]))
    parts += [_phases(snapshot), _rounds(snapshot["history"][-MAX_ROUNDS:]), _sites(snapshot["sites"])]
    failures = [
        f"{line['phase']}, round {line['round']}: {site}: {reason}"
        for line in snapshot["history"]
        for site, reason in line["failures"].items()
    ]
    if failures:
        parts.append(Text("\n".join(["Last failures:", *failures[-MAX_FAILURES:]]), style="yellow"))
    return Group(*parts)


def _headline(snapshot: dict[str, Any]) -> Text:
    text = Text(f"{snapshot['run']}  ")
    text.append(describe_status(snapshot), STYLES.get(snapshot["status"], ""))
    return text


def describe_status(snapshot: dict[str, Any]) -> str:
    """Return the state of the run as a sentence, with the time that is left."""
    if snapshot["status"] == "silent":
        return (
            f"no news for {duration(snapshot['silent-seconds'])}: the coordinator was probably killed; "
            "resume the run with the setting resume"
        )
    if snapshot["status"] in ("failed", "stopped"):
        return f"{snapshot['status']} after {duration(snapshot['seconds'])}: {snapshot['reason']}"
    if snapshot["status"] == "completed":
        return f"completed in {duration(snapshot['seconds'])}"
    left = snapshot["seconds-left"]
    estimate = "time left not known yet" if left is None else f"about {duration(left)} left"
    return f"running for {duration(snapshot['seconds'])}, {estimate}"


def duration(seconds: float) -> str:
    """Return a time in the largest unit of which there are at least two."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def megabytes(number: float) -> str:
    """Return a number of bytes in MB."""
    return f"{number / 1e6:.1f} MB"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _phases(snapshot: dict[str, Any]) -> Table:
    table = _table("phase", "rounds", "sent", "received")
    for phase in snapshot["phases"]:
        lines = [line for line in snapshot["history"] if line["phase"] == phase["name"]]
        table.add_row(
            Text(phase["name"]),
            f"{phase['done']} of {phase['rounds']}",
            megabytes(sum(line["bytes-down"] for line in lines)),
            megabytes(sum(line["bytes-up"] for line in lines)),
        )
    return table


def _rounds(history: list[dict[str, Any]]) -> Table:
    table = _table("round", "loss", "metrics", "sites", "seconds")
    for line in history:
        metrics = (
            f"{name} {'–' if value is None else f'{value:.3f}'}"
            for name, value in line["metrics"].items()
            if name != "score"
        )
        table.add_row(
            Text(f"{line['phase']} {line['round']}"),
            f"{line['loss']:.4f}" if line.get("loss") else "–",  # it is withheld to protect patients
            Text("  ".join(metrics)),
            f"{line['sites']}/{line['sites-asked']}",
            f"{line['seconds']:.0f}",
        )
    return table


def _sites(sites: list[dict[str, Any]]) -> Table:
    table = _table("site", "state", "for", "last round", "failures")
    for site in sites:
        worked = site["last-round-seconds"]
        table.add_row(
            Text(site["name"]),
            Text(site["state"]),
            "" if site["seconds"] is None else duration(site["seconds"]),
            "" if worked is None else f"{worked:.0f} s",
            str(site["failures"] or ""),
        )
    return table
