"""`condi submit`: start a run on a SuperLink, follow its log, and exit with the status of its end."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.command_line import (
    Quiet,
    RunConfigEntries,
    Verbose,
    exit_on_run_errors,
    exit_on_signals,
    exit_with,
    line_printer,
)
from server_app.operations.flower_processes import FlowerProcesses
from server_app.operations.run_config import (
    PROJECT,
    read_run_config,
    require_known_settings,
    write_run_config,
)
from server_app.operations.run_log import ReadableLog, follow_to_end


def submit(
    superlink: Annotated[
        str,
        typer.Option(help="HOST:PORT of the SuperLink's Control API; sites use another port."),
    ],
    root_certificates: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="File ca.crt; omit it only for a SuperLink without TLS."
        ),
    ] = None,
    run_config: RunConfigEntries = None,
    follow: Annotated[
        str | None, typer.Option(metavar="RUN_ID", help="Follow this run instead of starting one.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option(metavar="RUN_ID", help="Stop this run instead of starting one.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and exit.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a federation of hospitals: send the app to their coordinator and follow the run to its end.

    Paths in settings, such as `output` and `resume`, are paths on the machine
    of the ServerApp. Interrupting this command does not stop the run.
    """
    exit_on_signals()
    log = ReadableLog()
    with exit_on_run_errors(log, superlink=superlink), FlowerProcesses() as processes:
        processes.connect(superlink, root_certificates)
        if stop is not None:
            processes.flwr("stop", stop, "condi")
            return
        run_id = _start_run(processes, run_config or []) if follow is None else follow
        if detach:
            print(run_id)
            return
        print(f"run {run_id} (follow it again with --follow {run_id})", file=sys.stderr, flush=True)
        try:
            follow_to_end(processes, run_id, line_printer(log, quiet, verbose))
        except KeyboardInterrupt:
            exit_with(130, f"stopped following; the run continues: see it again with --follow {run_id}")


def _start_run(processes: FlowerProcesses, run_config: list[str]) -> str:
    """Start a run with the settings of `--run-config` and return its id."""
    settings = read_run_config(run_config)
    require_known_settings(PROJECT, settings)
    settings_file = processes.folder / "run-config.toml"
    write_run_config(settings, settings_file)
    return processes.submit(PROJECT, str(settings_file))
