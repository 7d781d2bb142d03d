"""`condi run`: run a federation on this machine, for scripts and CI.

This is `flwr run` with a SuperLink of its own: the code that runs is the bundle that was just built, the exit
status says how the run ended, and no process keeps running afterwards.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from data_partitions.user_cache import CACHE_VARIABLE, user_cache
from server_app.operations.app_folder import copy_app
from server_app.operations.command_line import (
    CpusPerNode,
    GpusPerNode,
    Nodes,
    Quiet,
    RunConfigEntries,
    Verbose,
    exit_on_run_errors,
    exit_on_signals,
    exit_with,
    line_printer,
)
from server_app.operations.flower_processes import FlowerError, FlowerProcesses
from server_app.operations.preflight import require_startable
from server_app.operations.run_config import (
    RunRejectedError,
    SettingValue,
    read_run_config,
    write_run_config,
)
from server_app.operations.run_log import ReadableLog, follow_to_end

PATH_SETTINGS = ("federation", "output", "resume")


def simulate(
    run_config: dict[str, SettingValue],
    *,
    nodes: int = 4,
    cpus_per_node: int = 1,
    gpus_per_node: float = 0.0,
    ray: str = "",
    cache: Path | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Run the installed app on virtual nodes and wait until it completes.

    Parameters
    ----------
    run_config : settings in Flower's flat form; the others have their defaults
    nodes : number of virtual nodes
    cpus_per_node, gpus_per_node : what a node has while it computes
    ray : address HOST:PORT of a Ray cluster to compute in; empty for a new one on this machine
    cache : folder for the demo federation and completed windows; None for the user's own
    show : called with each line of the run's log, unfiltered, as it appears

    Raises
    ------
    RunRejectedError
        When the settings cannot be used.
    RunFailedError
        When the run started and did not complete.
    FlowerError
        When Flower itself does not start.
    """
    if not ray and " " in sys.executable:
        raise RunRejectedError(
            f"Ray starts no process of a Python whose path has a space ({sys.executable}): make the virtual "
            "environment in a folder without spaces."
        )
    federation = {
        "num-supernodes": nodes,
        "client-resources-num-cpus": cpus_per_node,
        "client-resources-num-gpus": float(gpus_per_node),
    }
    if not ray:
        # Without this, Ray starts a process for each CPU of the machine, however few nodes there are.
        federation["init-args-num-cpus"] = min(nodes * cpus_per_node, os.cpu_count() or 1)
    with FlowerProcesses() as processes:
        settings_file = processes.folder / "run-config.toml"
        write_run_config(run_config, settings_file)
        processes.env[CACHE_VARIABLE] = str(cache or user_cache())  # absolute, as they run in another folder
        processes.env.setdefault("OMP_NUM_THREADS", str(cpus_per_node))
        if ray:
            processes.env["RAY_ADDRESS"] = ray
        else:
            require_ray_token(processes)
        processes.start_superlink("--simulation")
        try:
            run_id = processes.submit(copy_app(processes.folder), str(settings_file), federation)
        except FlowerError as error:
            raise RunRejectedError(f"Flower refused the run: {error}") from None
        follow_to_end(processes, run_id, show)


def require_ray_token(processes: FlowerProcesses) -> None:
    """Make Ray, which listens on all networks, carry out only what brings the token of these processes."""
    token = processes.write_token("ray.token")
    processes.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


def run(
    federation: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder that `condi prepare` wrote.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder in which run folders are; default: runs.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of an interrupted run to resume."),
    ] = None,
    run_config: RunConfigEntries = None,
    nodes: Nodes = 4,
    cpus_per_node: CpusPerNode = 1,
    gpus_per_node: GpusPerNode = 0.0,
    ray: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Ray cluster to compute in; default: this machine alone."),
    ] = "",
    cache: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Folder for the demo federation and completed windows. Default: in the user's cache folder.",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a federation on this machine, with a virtual node for every site."""
    exit_on_signals()
    if resume is not None and (out is not None or name is not None):
        exit_with(2, "a resumed run goes on in its own folder: leave out --out and --name.")
    log = ReadableLog()
    with exit_on_run_errors(log, failure_logs=(out or Path("runs")).absolute()):
        settings = read_run_config(run_config or [])
        if resume is not None:
            # A resumed run has its own settings unless others are given, which it will then refuse.
            settings = _settings_of_run(resume) | settings | {"resume": str(resume)}
        if federation is not None:
            settings["federation"] = str(federation)
        if out is not None:
            settings["output"] = str(out)
        settings.setdefault("output", "runs")
        for key in PATH_SETTINGS:
            if settings.get(key):  # the app has another working directory
                settings[key] = str(Path(os.path.expanduser(str(settings[key]))).absolute())
        if name is not None:
            settings["name"] = name
        require_startable(settings)
        if not ray and cpus_per_node > (available := os.cpu_count() or 1):
            raise RunRejectedError(
                f"--cpus-per-node is {cpus_per_node}, but this machine has {available} CPUs: choose fewer."
            )
        simulate(
            settings,
            nodes=nodes,
            cpus_per_node=cpus_per_node,
            gpus_per_node=gpus_per_node,
            ray=ray,
            cache=cache and Path(os.path.expanduser(cache)).absolute(),
            show=line_printer(log, quiet, verbose),
        )


def _settings_of_run(folder: Path) -> dict[str, SettingValue]:
    """Return the settings that a run was started with, without its location and its sites.

    Without `sites`, a resumed run has those of its roster, to which sites may have been admitted since.
    """
    from condi_core.run_files import RunFileError, read_config

    try:
        saved = read_config(folder).flat()
    except RunFileError:
        raise RunRejectedError(
            f"There is no run to resume in {folder}: it has no readable config.json."
        ) from None
    return {key: value for key, value in saved.items() if key not in ("name", "output", "resume", "sites")}
