"""Run the operator's command at the end of a run, such as one that sends a message."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from server_app.errors import RunError

MAX_SECONDS = 60.0


def require_program(command: str) -> None:
    """Raise RunError when the program of a command is not on this machine; for no command, do nothing."""
    if command and not shutil.which(program := shlex.split(command)[0]):
        raise RunError(
            f"on-end names the program {program}, which cannot be run on the coordinator's machine: install "
            "it there, or set on-end to ''"
        )


def run_end_command(command: str, *, status: str, reason: str, directory: str) -> None:
    """Run a command, without a shell, with the outcome of a run in its environment.

    A run never fails because of this command: a line says what is wrong with it.

    Parameters
    ----------
    command : str
        Program and arguments; empty for none.
    status : str
        `completed`, `failed` or `stopped`.
    reason : str
        Why the run did not complete; empty if it did.
    directory : str
        The run directory; empty when the run ended before it had one.
    """
    if not command:
        return
    outcome = {
        "CONDI_RUN_STATUS": status,
        "CONDI_RUN_REASON": reason,
        "CONDI_RUN_DIRECTORY": directory,
        "CONDI_RUN_NAME": os.path.basename(directory),
    }
    try:
        done = subprocess.run(
            shlex.split(command), env=os.environ | outcome, stdin=subprocess.DEVNULL, timeout=MAX_SECONDS
        )
        problem = f"ended with status {done.returncode}" if done.returncode else ""
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        problem = f"failed ({error})"
    if problem:
        print(f"note: the command on-end {problem}", flush=True)
