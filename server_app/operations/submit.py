"""`condi submit`: start a run on a SuperLink, follow its log, and exit with the status of its end."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.app_folder import copy_app
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
from server_app.operations.preflight import require_sites, require_valid_settings
from server_app.operations.registry import registered_names
from server_app.operations.run_config import SettingValue, read_run_config, write_run_config
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
    with exit_on_run_errors(log, superlink=superlink), ExitStack() as stack:
        settings = read_run_config(run_config or [])
        if not (follow or stop):
            _require_startable(settings, superlink, root_certificates)
        processes = stack.enter_context(FlowerProcesses())
        processes.connect(superlink, root_certificates)
        if stop is not None:
            processes.flwr("stop", stop, "condi")
            return
        run_id = _start_run(processes, settings) if follow is None else follow
        if detach:
            print(run_id)
            return
        print(f"run {run_id} (follow it again with --follow {run_id})", file=sys.stderr, flush=True)
        try:
            follow_to_end(processes, run_id, line_printer(log, quiet, verbose))
        except KeyboardInterrupt:
            exit_with(130, f"stopped following; the run continues: see it again with --follow {run_id}")


def _require_startable(
    settings: dict[str, SettingValue], superlink: str, root_certificates: Path | None
) -> None:
    """Refuse settings that are invalid, and sites that are not registered, where the SuperLink tells."""
    config = require_valid_settings(settings)
    if names := registered_names(superlink, root_certificates):
        require_sites(config, names, "the SuperLink has")


def _start_run(processes: FlowerProcesses, settings: dict[str, SettingValue]) -> str:
    """Start a run with these settings and return its id."""
    settings_file = processes.folder / "run-config.toml"
    write_run_config(settings, settings_file)
    return processes.submit(copy_app(processes.folder), str(settings_file))
