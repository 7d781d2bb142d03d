"""What is known of a run at one moment, from its run directory, for people who follow it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.run_files import (
    RunFileMissingError,
    interpret,
    read_config,
    read_history,
    read_progress,
    read_roster,
)
from server_app.artifacts.participation import read_drained
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.errors import printable

SILENCE_SECONDS = 60.0  # without news, after which the coordinator counts as gone
TASKS = {
    "train": "trains",
    "evaluate": "scores its windows",
    "query": "completes its windows",
}


def take_snapshot(run: Path, now: float | None = None) -> dict[str, Any]:
    """Return what a page and a terminal show of a run; all texts of sites are shortened and printable.

    Parameters
    ----------
    run : Path
        The run directory.
    now : float, optional
        Seconds since the epoch.

    Returns
    -------
    dict
        `run`, `status`, `reason`, `doing`, `phases` (name, rounds, rounds done), `history` (of the rounds),
        `sites` (name, state, seconds since it began, failures), `bytes`, `seconds-left`.

    Raises
    ------
    RunFileError
        This is no run directory, or one of its files is damaged.
    """
    now = time.time() if now is None else now
    config, roster, progress = read_config(run), read_roster(run), read_progress(run)
    progress["drained"] = read_drained(run)
    try:
        history = read_history(run)
    except RunFileMissingError:  # before the end of the first round
        history = []
    return interpret(run, lambda: _compose(run, now, config, roster, progress, history))


def _compose(
    run: Path, now: float, config: RunConfig, roster: dict, progress: dict, history: list[dict]
) -> dict[str, Any]:
    status = progress["status"]
    if status == "running" and now - progress["written"] > SILENCE_SECONDS:
        status = "silent"
    has_labels = any(site["manifest"]["labels"] for site in roster.values())
    phases = [
        {"name": name, "rounds": rounds, "done": sum(line["phase"] == name for line in history)}
        for name, rounds in planned_rounds(config, has_labels).items()
    ]
    request = progress["request"] if status == "running" else {}
    return {
        "run": printable(run.resolve().name),
        "status": status,
        "reason": printable(progress["reason"]),
        "seconds": (now if status == "running" else progress["written"]) - progress["started"],
        "silent-seconds": now - progress["written"],
        "doing": describe_request(request),
        "phases": phases,
        "history": [_shorten_line(line) for line in history],
        "sites": [
            _describe_site(name, progress, history, status == "running", now)
            for name in sorted({*roster, *progress["excluded"]})
        ],
        "bytes": {way: sum(line[f"bytes-{way}"] for line in history) for way in ("down", "up")},
        "seconds-left": seconds_left(phases, history) if status == "running" else None,
    }


def planned_rounds(config: RunConfig, has_labels: bool) -> dict[str, int]:
    """Return the rounds of each phase of a run, in order; early stopping may leave some out."""
    privacy, plan = config.privacy, {}
    methods = [METHODS[name] for name in config.methods if name in METHODS]  # others are not installed here
    relation = 0 if privacy.noise_multiplier else config.imputer.relation_rounds
    if privacy.patient_epsilon:
        relation = min(1, relation)
    for scope, suffix in PHASE_SUFFIX.items():
        training = {method.imputer_training for method in methods if method.scope == scope}
        if training - {"none"}:
            plan[f"relation{suffix}"] = relation
            plan[f"imputer{suffix}"] = config.imputer.rounds if "diffusion" in training else 0
    if has_labels:
        plan |= {f"task-{name}": config.task.rounds for name in config.methods}
    return {name: rounds for name, rounds in plan.items() if rounds}


def seconds_left(phases: list[dict], history: list[dict]) -> float | None:
    """Estimate the time until the end of the rounds; None when a kind of phase has had no round yet.

    A round takes as long as the mean of its phase so far, or else that of phases of the same kind: all task
    models, or all imputers. Phases before that of the last round have ended, whatever was planned.
    """
    total = 0.0
    last = history[-1]["phase"] if history else ""
    current = next((i for i, phase in enumerate(phases) if phase["name"] == last), 0)
    for phase in phases[current:]:
        if (remaining := phase["rounds"] - phase["done"]) <= 0:
            continue
        kind = phase["name"].partition("-")[0]
        same = [line["seconds"] for line in history if line["phase"] == phase["name"]]
        alike = same or [line["seconds"] for line in history if line["phase"].partition("-")[0] == kind]
        if not alike:
            return None
        total += remaining * sum(alike) / len(alike)
    return total


def describe_request(request: dict[str, Any]) -> str:
    """Return what sites were last asked, such as "imputer, round 3: the sites train"."""
    if not request:
        return ""
    kind = request["kind"].partition(".")[0]
    phase = request.get("phase", request["kind"].rpartition(".")[2])
    task = {"train": "the sites train", "evaluate": "the sites score their windows"}.get(
        kind, "the sites complete their windows"
    )
    if request.get("split") == "test":
        return printable(f"{phase}: the sites score their test windows")
    round_ = f", round {request['server-round']}" if "server-round" in request else ""
    return printable(f"{phase}{round_}: {task}")


def _describe_site(name: str, progress: dict, history: list[dict], is_running: bool, now: float) -> dict:
    """Return the state of a site in words, since when, and how often and why it failed."""
    failures = [
        reason
        for line in history
        for failed, reason in line["failures"].items()
        if failed.removesuffix(" (evaluation)") == name
    ]
    seconds = [line["site-seconds"][name] for line in history if name in line.get("site-seconds", {})]
    state, since = "idle", None
    asked = progress["sites"].get(name, {})
    online = progress["online"]
    if reason := progress["excluded"].get(name):
        state = f"excluded: {reason}"
    elif not is_running:
        state = ""
    elif online is not None and name not in online:
        state = "not connected"
    elif asked and asked["answered"] is None:
        state, since = TASKS.get(asked["kind"].partition(".")[0], "works"), now - asked["asked"]
    elif name in progress["drained"]:
        state = "drained"
    elif asked:
        since = now - asked["answered"]
    return {
        "name": printable(name),
        "state": printable(state),
        "seconds": since,
        "last-round-seconds": seconds[-1] if seconds else None,
        "failures": len(failures),
        "last-failure": printable(failures[-1]) if failures else "",
    }


def _shorten_line(line: dict) -> dict:
    """Return what is shown of a round."""
    numbers = ("round", "bytes-down", "bytes-up", "seconds")
    return {
        "phase": printable(line["phase"]),
        **{key: line[key] for key in numbers if key in line},
        "loss": _finite(line.get("loss")),
        "selection-score": _finite(line.get("selection-score")),
        "metrics": {printable(name): _finite(value) for name, value in line["metrics"].items()},
        "sites": len(line.get("site-seconds", {})),
        "sites-asked": line.get("sites-asked"),
        "failures": {printable(name): printable(reason) for name, reason in line["failures"].items()},
    }


def _finite(value: float | None) -> float | None:
    """Return a number that JSON has; browsers refuse what Python writes for NaN."""
    return value if value is not None and math.isfinite(value) else None
