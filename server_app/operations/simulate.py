"""`condi run`: a whole federation on this machine, for scripts and CI.

It is `flwr run` with a SuperLink of its own, so that the code that runs is the bundle just built, the exit
status tells how the run ended, and nothing keeps running afterwards.
"""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.flower_processes import FlowerError, FlowerProcesses
from server_app.operations.run_config import (
    PROJECT,
    RunRejectedError,
    Value,
    check_keys,
    read_run_config,
    write_run_config,
)
from server_app.operations.run_log import (
    ReadableLog,
    RunFailedError,
    exit_on_signals,
    exit_with,
    follow_to_end,
    save_failure_log,
)


def simulate(
    project: Path,
    run_config: dict[str, Value],
    *,
    nodes: int = 4,
    cpus_per_node: int = 1,
    gpus_per_node: float = 0.0,
    ray: str = "",
    show: Callable[[str], None] = print,
) -> None:
    """Run the Flower app in a project folder on virtual nodes and wait until it completes.

    They work in a Ray of their own on this machine, or in the cluster at the address `ray`.

    `show` is called with each line of the run's log, unfiltered, as it appears.
    """
    check_keys(project, run_config)
    federation = {
        "num-supernodes": nodes,
        "client-resources-num-cpus": cpus_per_node,
        "client-resources-num-gpus": float(gpus_per_node),
    }
    if not ray:
        # Otherwise Ray starts a process for each CPU of the machine, however few nodes there are.
        federation["init-args-num-cpus"] = min(nodes * cpus_per_node, os.cpu_count() or 1)
    with FlowerProcesses() as sandbox:
        settings = sandbox.folder / "run-config.toml"
        write_run_config(run_config, settings)
        sandbox.env.setdefault("OMP_NUM_THREADS", str(cpus_per_node))
        if ray:
            sandbox.env["RAY_ADDRESS"] = ray
        sandbox.start_superlink("--simulation")
        try:
            run_id = sandbox.submit(project, str(settings), federation)
        except FlowerError as error:
            raise RunRejectedError(f"Flower refused the run: {error}") from None
        follow_to_end(sandbox, run_id, show)


def run(
    federation: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder that `condi prepare` wrote.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for run folders.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    resume: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Run folder to go on from.")
    ] = None,
    run_config: Annotated[
        list[str] | None,
        typer.Option("--run-config", "-c", help="\"key=value key2='some text'\" or a TOML file; repeatable."),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Virtual nodes.")] = 4,
    cpus_per_node: Annotated[int, typer.Option(min=1, help="CPUs of one node while it computes.")] = 1,
    gpus_per_node: Annotated[float, typer.Option(min=0, help="GPUs of one node, such as 0.5.")] = 0.0,
    ray: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="A Ray cluster to work in, rather than on this machine.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only why a run failed.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the whole log.")] = False,
) -> None:
    """Run a whole federation on this machine: every site a virtual node."""
    exit_on_signals()
    out = out.expanduser().absolute()
    readable = ReadableLog()
    try:
        settings = read_run_config(run_config or [])
        if resume is not None:
            # A run goes on with its own settings, unless others are given, which it will then refuse.
            settings = _settings_of(resume) | settings | {"resume": str(resume)}
        if federation is not None:
            settings["federation"] = str(federation)
        settings.setdefault("output", str(out))
        for key in ("federation", "output", "resume"):
            if settings.get(key):  # the app works in another directory
                settings[key] = str(Path(str(settings[key])).expanduser().absolute())
        if name is not None:
            settings["name"] = name
        if not ray and cpus_per_node > (available := os.cpu_count() or 1):
            raise RunRejectedError(
                f"--cpus-per-node is {cpus_per_node}, but this machine has {available} CPUs."
            )
        simulate(
            PROJECT,
            settings,
            nodes=nodes,
            cpus_per_node=cpus_per_node,
            gpus_per_node=gpus_per_node,
            ray=ray,
            show=(lambda line: None) if quiet else partial(print, flush=True) if verbose else readable,
        )
    except RunRejectedError as error:
        exit_with(2, str(error))
    except FlowerError as error:
        exit_with(1, str(error))
    except RunFailedError as error:
        kept = save_failure_log(error.log, out)
        exit_with(1, f"{error} (log: {kept})" if kept else "" if str(error) == readable.last else str(error))
    except KeyboardInterrupt:
        exit_with(130, "stopped.")


def _settings_of(run: Path) -> dict[str, Value]:
    """Settings that a run was started with, less those that say where it is."""
    try:
        saved = json.loads((run / "config.json").read_text())
    except (OSError, ValueError):
        raise RunRejectedError(
            f"There is no run to go on with at {run}: it has no readable config.json."
        ) from None
    return {key: value for key, value in saved.items() if key not in ("name", "output", "resume")}
