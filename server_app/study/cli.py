"""`condi study`: a comparison that anyone can repeat, from one TOML file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.command_line import exit_on_signals, exit_with
from server_app.operations.flower_processes import FlowerError
from server_app.operations.run_config import PROJECT, RunRejectedError, SettingValue
from server_app.operations.run_log import ReadableLog, RunFailedError
from server_app.operations.simulate import simulate
from server_app.study.design import PRESETS, StudyError, load_study, presets
from server_app.study.federations import Federations, sources_of
from server_app.study.page import write_results
from server_app.study.results import RunUnreadable, write_csv
from server_app.study.runner import RunNotCompletedError, StudyRunner

HELP = """Carry out a comparison: methods x data x partitions x holes x seeds.

Each cell of the grid is computed once. Interrupted, the same command goes on
where it stopped; given more methods, seeds or holes it computes only those.
All methods have the same windows, holes, rounds and local steps; the learning
rate of each is chosen on validation windows of the first seed.

It leaves in --out: cells.csv (a row per cell: factors, metrics, seconds,
bytes, parameters, run folder), table.txt, table.md, study.html with curves
over missingness, and every run in runs/.

\b
condi study quick                       # a preset, some minutes
condi study my.toml --dry-run           # what would be run, and how long
condi study honest --source ptb-xl=DIR  # a preset that needs data
condi study --list                      # the presets
condi study --show quick                # an annotated example
"""


def study(
    name: Annotated[str, typer.Argument(metavar="[STUDY.toml|PRESET]", show_default=False)] = "",
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of the study; default: studies/NAME.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="DATA=FOLDER", help="Where a data set is; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and how long.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Results as one JSON object on stdout.")] = False,
    list_presets: Annotated[bool, typer.Option("--list", help="List the presets.")] = False,
    show: Annotated[str, typer.Option(metavar="PRESET", help="Print a preset, to begin one's own by.")] = "",
    nodes: Annotated[int, typer.Option(min=1, help="Virtual nodes of a run.")] = 4,
    cpus_per_node: Annotated[int, typer.Option(min=1, help="CPUs of one node while it computes.")] = 1,
    gpus_per_node: Annotated[float, typer.Option(min=0, help="GPUs of one node, such as 0.5.")] = 0.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the runs say.")] = False,
) -> None:
    exit_on_signals()
    if list_presets:
        for preset, summary in presets().items():
            typer.echo(f"{preset:<8} {summary}")
        return
    if show:
        if show not in presets():
            exit_with(1, f"there is no preset {show!r}: choose from {', '.join(presets())}")
        typer.echo((PRESETS / f"{show}.toml").read_text(), nl=False)
        return
    if not name:
        exit_with(1, f"say which study: a TOML file, or a preset ({', '.join(presets())})")
    say = partial(typer.echo, err=True)
    readable = ReadableLog()

    def run(settings: dict[str, SettingValue]) -> None:
        try:
            simulate(
                PROJECT, settings, nodes=nodes, cpus_per_node=cpus_per_node, gpus_per_node=gpus_per_node,
                show=readable if verbose and not as_json else lambda line: None,
            )  # fmt: skip
        except (RunFailedError, FlowerError) as error:
            raise RunNotCompletedError(str(error)) from None

    try:
        design, base = load_study(name)
        text = (PRESETS / f"{name}.toml" if name in presets() else Path(name).expanduser()).read_text()
        title = Path(name).stem
        folder = (out or Path("studies") / title).expanduser().absolute()
        federations = Federations(design, folder, sources_of(design, base, _pairs(source or [])), say)
        carry_out = StudyRunner(design, folder, federations, run, say)
        if dry_run:
            _tell_plan(carry_out, len(design.methods), as_json)
            return
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            (folder / "study.toml").write_text(text)
            try:
                carry_out()
            finally:  # also of what is there when it is stopped
                rows = carry_out.rows()
                tables, paths = write_results(folder, title, text, rows, design.metric)
            if trials := carry_out.trials():
                paths["tuning"] = str(folder / "tuning.csv")
                write_csv(trials, folder / "tuning.csv")
    except (StudyError, RunUnreadable, RunRejectedError, FlowerError) as error:
        exit_with(1, str(error))
    except OSError as error:
        exit_with(1, f"{error.strerror}: {error.filename}")
    except KeyboardInterrupt:
        exit_with(130, "stopped; the same command goes on from here.")
    if as_json:
        told = {"study": title, "cells": rows, "files": paths, "failed": carry_out.failed}
        typer.echo(json.dumps(told, indent=1))
    else:
        typer.echo("\n" + tables)
        for what, path in paths.items():
            typer.echo(f"{what:<9} {path}")
    if carry_out.failed:
        first, why = next(iter(carry_out.failed.items()))
        exit_with(
            1, f"{len(carry_out.failed)} runs failed, such as {first}: {why} The same command tries again."
        )


study.__doc__ = HELP


def _tell_plan(carry_out: StudyRunner, methods: int, as_json: bool) -> None:
    plan = list(carry_out.plan())
    left = sum(not there for _, there, _ in plan)
    training = sum(trains and not there for _, there, trains in plan)
    seconds, why = carry_out.estimate(training, left - training)
    if as_json:
        runs = [{"run": told, "done": there, "trains": trains} for told, there, trains in plan]
        typer.echo(json.dumps({"runs": runs, "cells": len(plan) * methods, "seconds": seconds}, indent=1))
        return
    for number, (told, there, _) in enumerate(plan, start=1):
        typer.echo(f"{number:>4} {'done ' if there else ''}{told}")
    rest = f", {left - training} of them with what others train" if left > training else ""
    typer.echo(f"{len(plan)} runs of {methods} methods, {len(plan) * methods} cells; {left} runs left{rest}")
    typer.echo(f"about {seconds / 60:.0f} min ({why})")


def _pairs(given: list[str]) -> dict[str, Path]:
    found = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise StudyError(f"--source {text}: write a data set's name and folder, as DATA=FOLDER")
        found[name] = Path(folder).expanduser().absolute()
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """StudyError when the same study is being carried out by another process."""
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"{folder} is being worked on: wait for it, or choose another --out") from None
        lock.write(str(os.getpid()))
        lock.flush()
        yield
