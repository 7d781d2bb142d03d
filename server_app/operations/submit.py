"""`condi submit`: start a run on a SuperLink, follow it, and tell by the exit status how it ended."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from server_app.operations.flower_processes import FlowerError, FlowerProcesses
from server_app.operations.run_config import (
    PROJECT,
    RunRejectedError,
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
)


def submit(
    superlink: Annotated[
        str, typer.Option(help="HOST:PORT of its Control API, which is not the port that sites use.")
    ],
    root_certificates: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="ca.crt; left out only for an insecure SuperLink."),
    ] = None,
    run_config: Annotated[
        list[str] | None,
        typer.Option("--run-config", "-c", help="\"key=value key2='some text'\" or a TOML file; repeatable."),
    ] = None,
    follow: Annotated[str | None, typer.Option(help="Follow this run, rather than start one.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and leave.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only why a run failed.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the whole log.")] = False,
) -> None:
    """Run a federation of hospitals: send the app to their coordinator and follow it to the closing table.

    Paths in settings, such as `output` and `resume`, are those of the machine on which the ServerApp works.
    To interrupt this command does not stop the run.
    """
    exit_on_signals()
    readable, run_id = ReadableLog(), follow
    with FlowerProcesses() as sandbox:
        try:
            sandbox.connect(superlink, root_certificates)
            if run_id is None:
                settings = read_run_config(run_config or [])
                check_keys(PROJECT, settings)
                file = sandbox.folder / "run-config.toml"
                write_run_config(settings, file)
                run_id = sandbox.submit(PROJECT, str(file))
            if detach:
                print(run_id)
                return
            print(f"run {run_id} (follow it again with --follow {run_id})", file=sys.stderr, flush=True)
            show = (lambda line: None) if quiet else partial(print, flush=True) if verbose else readable
            follow_to_end(sandbox, run_id, show)
        except RunRejectedError as error:
            exit_with(2, str(error))
        except FlowerError as error:
            exit_with(1, f"{superlink} refused it, or does not answer: {error}")
        except RunFailedError as error:
            exit_with(1, "" if readable.last and readable.last in str(error) else str(error))
        except KeyboardInterrupt:
            exit_with(
                130, f"no longer followed; the run goes on: --follow {run_id}" if run_id else "stopped."
            )
