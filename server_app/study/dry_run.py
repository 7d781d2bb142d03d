"""What a study would do: its runs, what they miss, and how long they take."""

from __future__ import annotations

from typing import Any

from server_app.study.forecast import Forecast
from server_app.study.grid import StudyGrid
from server_app.study.progress import describe_seconds
from server_app.study.vector_graphics import matplotlib_is_installed


def summarise_plan(grid: StudyGrid, forecast: Forecast) -> dict[str, Any]:
    """Plan a study without starting anything.

    Returns
    -------
    dict with `runs`, the number of `cells`, what is `missing`, `notes`, the `seconds` that the runs left
    take (None where data are missing), and the `basis` of that estimate
    """
    plan, missing = list(grid.plan()), grid.federations.missing()
    if not missing:
        forecast.correct(plan)
    notes = [] if matplotlib_is_installed() else ["matplotlib is not installed: there will be no figures"]
    return {
        "runs": [{"run": run.label, "done": run.is_done, "trains": run.trains} for run in plan],
        "cells": len(plan) * len(grid.study.methods),
        "missing": missing,
        "notes": notes,
        "seconds": None if missing else sum(forecast.seconds(run) for run in plan if not run.is_done),
        "basis": forecast.basis,
    }


def describe_plan(summary: dict[str, Any], num_methods: int) -> str:
    """Write the summary of a plan in lines."""
    runs = summary["runs"]
    lines = [f"{n:>4} {'done ' if run['done'] else ''}{run['run']}" for n, run in enumerate(runs, start=1)]
    left = [run for run in runs if not run["done"]]
    scoring = sum(not run["trains"] for run in left)
    suffix = f", {scoring} of them with models of other runs" if scoring else ""
    lines.append(
        f"{len(runs)} runs of {num_methods} methods, {summary['cells']} cells; {len(left)} runs left{suffix}"
    )
    if summary["seconds"] is not None:
        lines.append(f"about {describe_seconds(summary['seconds'])} ({summary['basis']})")
    return "\n".join(lines + summary["notes"])
