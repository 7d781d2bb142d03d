"""`condi superexec`: Flower's SuperExec, which starts ClientApps as forks of one process."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import threading
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import typer

from client_app.join.app_process import report_end
from client_app.join.fork_server import CLIENT_APP_COMMAND, ForkServer, ForkServerError
from client_app.join.polling import AdaptiveClock
from condi_core.flower_environment import make_flower_environment

MAX_POLL_SECONDS = 1.0  # Flower's default
# Lower than that of a node, whose requests the SuperLink answers, and not this machine.
SUPEREXEC_IDLE_FRACTION = 0.02


class AppLauncher:
    """Starts the processes of apps in place of `subprocess.Popen`.

    Parameters
    ----------
    clock : AdaptiveClock
        Of the loop that asks for work; it polls soon after an app was started.
    """

    def __init__(self, clock: AdaptiveClock) -> None:
        self._clock = clock
        self._fork_server = ForkServer()

    def start_process(self, command: list[str], **options: Any) -> None:
        """Start a ClientApp as a fork if possible, and everything else as a new process."""
        self._clock.note_activity()
        if command[0] == CLIENT_APP_COMMAND and not options:
            try:
                self._fork_server.start_app(command)
                return
            except ForkServerError as reason:
                logging.getLogger("flwr").warning("The app is started as a new process: %s", reason)
            program = [sys.executable, "-P", "-m", "client_app.join.app_process", *command]
        else:
            program = command
        process = subprocess.Popen(program, **options)
        threading.Thread(target=lambda: report_end(command, process.wait()), daemon=True).start()


superexec = typer.Typer(add_completion=False)


@superexec.command("superexec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_with_options(context: typer.Context) -> None:
    """Run the apps of a SuperLink or a site in this process's environment.

    Takes the options of `flower-superexec`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runtime-api-address", default="")
    server = parser.parse_known_args(context.args)[0].runtime_api_address
    environment = make_flower_environment(server.rpartition(":")[0].strip("[]"))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["condi superexec", *context.args]
    main()


def main() -> None:
    """Run `flower-superexec` with the arguments of this process."""
    from flwr.supercore.superexec import run_superexec
    from flwr.supercore.superexec.executor import subprocess_executor

    clock = AdaptiveClock(MAX_POLL_SECONDS, SUPEREXEC_IDLE_FRACTION)
    launcher = AppLauncher(clock)
    popen = SimpleNamespace(Popen=launcher.start_process, DEVNULL=subprocess.DEVNULL)
    subprocess_executor.subprocess = popen  # type: ignore[assignment]
    if run_superexec._TASK_POLL_INTERVAL_ENV not in os.environ:
        run_superexec.time = clock  # type: ignore[assignment]
    (command,) = entry_points(group="console_scripts", name="flower-superexec")
    command.load()()


if __name__ == "__main__":
    main()
