"""A process that has imported the libraries of ClientApps, and forks for each of them.

Flower starts a process for each message to a site, and such a process would import PyTorch and Flower
each time. A fork of a process that has them is still a process of its own, with its own memory and signals,
and loads the app's code itself.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from client_app.join.app_process import report_end, run_client_app
from client_app.join.polling import shorten_first_pulls

CLIENT_APP_COMMAND = "flwr-clientapp"
# What the ClientApp imports, apart from the code of the app.
LIBRARIES = (
    "flwr.client.mod",
    "flwr.clientapp",
    "flwr.supernode.cli",
    "pandas",
    "platformdirs",
    "pydantic",
    "safetensors.numpy",
    "torch",
)
LONGEST_REQUEST_BYTES = 65536
REAP_SECONDS = 0.5  # after which it is noticed that an app has ended


class ForkServerError(Exception):
    """The app cannot be started as a fork; the message says why."""


class ForkServer:
    """Starts ClientApps as forks of a process, which itself is started when the first app needs it."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None

    def start_app(self, command: Sequence[str]) -> int:
        """Start `flwr-clientapp`, with the environment, the folder and the output of this process.

        Parameters
        ----------
        command : the command line; its first element is `flwr-clientapp`

        Returns
        -------
        int, the id of the app's process

        Raises
        ------
        ForkServerError
            When the process refuses to fork, or has ended; the next call starts a new one.
        """
        if self._connection is None:
            self._connection = _start_server()
        try:
            self._connection.send(json.dumps(list(command)).encode())
            reply = self._connection.recv(LONGEST_REQUEST_BYTES).decode()
        except OSError as error:
            reply = str(error)
        if not reply.isdecimal():
            self._connection.close()
            self._connection = None
            raise ForkServerError(reply or "the process that forks apps has ended")
        return int(reply)


def _start_server() -> socket.socket:
    connection, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with server_end:
        number = server_end.fileno()
        subprocess.Popen([sys.executable, "-P", "-m", __name__, str(number)], pass_fds=[number])
    return connection


def serve(connection: socket.socket) -> list[str] | None:
    """Fork for each request until the other end closes the connection.

    Parameters
    ----------
    connection : socket
        Requests are command lines as JSON; the answer is a process id, or the reason why there is none.

    Returns
    -------
    list of str or None
        In a forked process, its command line; in this process, None, at the end.
    """
    # Ctrl-C reaches the SuperExec as well, whose end closes the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    apps: dict[int, list[str]] = {}
    with connection:
        while True:
            _reap(apps)
            if not select.select([connection], [], [], REAP_SECONDS)[0]:
                continue
            if not (request := connection.recv(LONGEST_REQUEST_BYTES)):
                return None
            if obstacle := _find_obstacle():
                connection.send(obstacle.encode())
                continue
            command = json.loads(request)
            process = os.fork()
            if process == 0:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                return command
            apps[process] = command
            connection.send(str(process).encode())


def _reap(apps: dict[int, list[str]]) -> None:
    """Take note of processes that have ended, and report apps that were ended."""
    with suppress(ChildProcessError):  # there is no other process
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            process, status = ended[0], os.waitstatus_to_exitcode(ended[1])
            command = apps.pop(process, None)
            if command and status and os.fork() == 0:  # so that no app waits for the report
                try:
                    report_end(command, status)
                finally:
                    os._exit(0)


def _find_obstacle() -> str | None:
    """Return why this process cannot fork: CUDA and threads do not survive it."""
    import torch

    if torch.cuda.is_initialized():
        return "CUDA is initialised in the process that forks apps"
    if threading.active_count() > 1:
        return "the process that forks apps has several threads"
    return None


def main() -> None:
    """Import the libraries, and serve the socket whose number is the argument of this process."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for library in LIBRARIES:
        import_module(library)
    shorten_first_pulls()
    # Garbage collection in a fork would visit, and so copy, all memory that it shares with this process.
    gc.collect()
    gc.freeze()
    if command := serve(connection):
        run_client_app(command)


if __name__ == "__main__":
    main()
