"""A run directory as it is while the run lasts, at sites whose names and reasons are markup."""

from __future__ import annotations

import json
from pathlib import Path

NOW = 1_700_000_000.0
HOSTILE = "<img src=x onerror=\"document.title='hit'\">"
ESCAPE = "\x1b[2Jgone[bold]"  # clears a terminal, and is markup of rich
SITES = ("north", HOSTILE, "south", ESCAPE)


def line(phase: str, round_: int, **changes) -> dict:
    """Return a line of the history, of a round that took ten seconds."""
    return {
        "phase": phase,
        "round": round_,
        "loss": 1 / round_,
        "metrics": {"score": 0.5 / round_, "rmse": 0.5 / round_, "linear": 0.9},
        "selection-score": 0.5 / round_,
        "bytes-down": 2_000_000,
        "bytes-up": 1_000_000,
        "seconds": 10.0,
        "site-seconds": {"north": 8.0, HOSTILE: 3.0},
        "sites-asked": 3,
        "failures": {},
    } | changes


def write_watched_run(run: Path, settings: dict, history: list[dict], **progress) -> Path:
    """Write the files that `condi watch` reads; north and a hostile site are at work, south is away."""
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(settings))
    site = {"manifest": {"labels": ["l"]}}
    (run / "roster.json").write_text(json.dumps({name: site for name in SITES[:3]}))
    (run / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history))
    asked = {"kind": "train.imputer", "asked": NOW - 130, "answered": None}
    content = {
        "status": "running",
        "reason": "",
        "started": NOW - 600,
        "written": NOW - 2,
        "request": {"kind": "train.imputer", "phase": "imputer", "server-round": 4, "asked": NOW - 130},
        "online": ["north", HOSTILE],
        "excluded": {ESCAPE: HOSTILE},
        "sites": {
            "north": asked,
            HOSTILE: asked | {"answered": NOW - 30},
            "south": asked,
        },
    }
    (run / "progress.json").write_text(json.dumps(content | progress))
    return run
