"""`condi study`: compare methods over data sets, partitions, missingness and seeds of one TOML file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from data_partitions import DataError
from data_partitions.storage import reserve_folder
from server_app.operations.command_line import (
    CpusPerNode,
    GpusPerNode,
    Nodes,
    exit_on_signals,
    exit_with,
)
from server_app.operations.flower_processes import FlowerError
from server_app.operations.run_config import RunRejectedError, SettingValue
from server_app.operations.run_log import ReadableLog, RunFailedError
from server_app.operations.simulate import simulate
from server_app.study.errors import StudyError
from server_app.study.preset_files import preset_file, preset_summaries

HELP = """Run a study: methods x data sets x partitions x missingness x seeds.

Each cell of this grid is computed once. After an interruption the same command
resumes where it stopped; with more methods, seeds or missingness in the file it
computes only the new cells. All methods have the same windows, missingness,
rounds and local steps; the learning rate of each method is chosen on the
validation windows of the first seed.

The folder --out then has results.csv (a number a row) and cells.csv (a row per
cell), table.txt, table.md and tables.tex, scores and curves as svg and pdf,
study.html with all of these, and every run in runs/.

\b
condi study quick                       # a preset that takes a few minutes
condi study my.toml --dry-run           # which runs it needs, and how long they take
condi study honest --source ptb-xl=DIR  # a preset that needs a data set
condi study --list                      # the presets
condi study --show quick                # an annotated example
"""


def study(
    name: Annotated[str, typer.Argument(metavar="[STUDY.toml|PRESET]", show_default=False)] = "",
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of the study; default: studies/NAME.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="DATA=FOLDER", help="Folder of a data set; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which runs are needed and how long they take.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
    list_presets: Annotated[bool, typer.Option("--list", help="List the presets.")] = False,
    show: Annotated[
        str, typer.Option(metavar="PRESET", help="Print a preset, to start your own study from.")
    ] = "",
    nodes: Nodes = 4,
    cpus_per_node: CpusPerNode = 1,
    gpus_per_node: GpusPerNode = 0.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the log of the runs.")] = False,
) -> None:
    exit_on_signals()
    presets = preset_summaries()
    if list_presets:
        for preset, summary in presets.items():
            typer.echo(f"{preset:<8} {summary}")
        return
    if show:
        if show not in presets:
            exit_with(1, f"there is no preset {show!r}: choose from {', '.join(presets)}")
        typer.echo(preset_file(show).read_text(), nl=False)
        return
    if not name:
        exit_with(1, f"no study is given: name a TOML file or a preset ({', '.join(presets)})")

    from server_app.study.design import load_study

    try:
        design = load_study(name)
    except StudyError as error:
        exit_with(1, str(error))

    # These import torch and pandas, which help and refusals do not need.
    from server_app.study.display import StudyDisplay
    from server_app.study.dry_run import summarise_plan
    from server_app.study.federations import Federations, source_folders
    from server_app.study.forecast import Forecast
    from server_app.study.grid import StudyGrid
    from server_app.study.page import write_results
    from server_app.study.progress import StudyProgress
    from server_app.study.results import RunUnreadableError, write_csv
    from server_app.study.runner import RunNotCompletedError, StudyRunner

    display = StudyDisplay(Console(stderr=True), len(design.methods))
    log = ReadableLog() if verbose and not as_json else ReadableLog(display.show_log)

    def run(settings: dict[str, SettingValue]) -> None:
        try:
            simulate(
                settings, nodes=nodes, cpus_per_node=cpus_per_node, gpus_per_node=gpus_per_node, show=log
            )  # fmt: skip
        except (RunFailedError, FlowerError) as error:
            raise RunNotCompletedError(str(error)) from None

    try:
        text = (preset_file(name) if name in presets else Path(os.path.expanduser(name))).read_text()
        title = Path(name).stem
        folder = Path(os.path.expanduser(out or Path("studies") / title)).absolute()
        sources = source_folders(design, _parse_sources(source or []))
        grid = StudyGrid(design, folder, Federations(design, folder, sources, display.say))
        workers = max(1, min(nodes, (os.cpu_count() or 1) // cpus_per_node))
        forecast = Forecast(grid, workers, threads=cpus_per_node)
        if dry_run:
            _print_plan(summarise_plan(grid, forecast), len(design.methods), as_json)
            return
        grid.federations.require_sources()
        with reserve_folder(folder):
            (folder / "study.toml").write_text(text)
            plan = list(grid.plan())
            forecast.correct(plan)
            display.progress = StudyProgress.of_plan(plan, forecast.seconds)
            runner = StudyRunner(grid, run, display.say, display.progress)
            try:
                with display:
                    runner.run_missing_cells()
            finally:  # an interrupted study has results as well
                cells = grid.cells()
                tables, paths = write_results(folder, title, text, cells, design.metric)
            if trials := grid.trials():
                paths["tuning.csv"] = str(folder / "tuning.csv")
                write_csv(trials, folder / "tuning.csv")
    except (StudyError, DataError, RunUnreadableError, RunRejectedError, FlowerError) as error:
        exit_with(1, str(error))
    except OSError as error:
        exit_with(1, f"{error.strerror}: {error.filename}")
    except KeyboardInterrupt:
        exit_with(130, "stopped; the same command resumes from here.")
    if as_json:
        results = {
            "study": title,
            "cells": [cell.row() for cell in cells],
            "files": paths,
            "failed": runner.failed,
        }
        typer.echo(json.dumps(results, indent=1))
    else:
        typer.echo("\n" + tables)
        typer.echo("\n".join(paths.values()))
    if runner.failed:
        run_name, reason = next(iter(runner.failed.items()))
        exit_with(
            1,
            f"{len(runner.failed)} runs failed, such as {run_name}: {reason.rstrip('.')}; to try again, run "
            "the same command.",
        )


study.__doc__ = HELP


def _print_plan(summary: dict[str, Any], num_methods: int, as_json: bool) -> None:
    """Print the plan of a study; end with status 1 when data are missing."""
    from server_app.study.dry_run import describe_plan

    typer.echo(json.dumps(summary, indent=1) if as_json else describe_plan(summary, num_methods))
    if summary["missing"]:
        exit_with(1, "; ".join(summary["missing"]))


def _parse_sources(entries: Iterable[str]) -> dict[str, Path]:
    """Read the values of --source."""
    sources = {}
    for entry in entries:
        name, equals, folder = entry.partition("=")
        if not (name and equals and folder):
            raise StudyError(f"--source {entry}: write a data set's name and folder, as DATA=FOLDER")
        sources[name] = Path(os.path.expanduser(folder)).absolute()
    return sources
