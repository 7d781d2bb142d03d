"""Flower's SuperNode behind the policy of its site, with refusals explained, and with short waits.

It takes the arguments of `flower-supernode`, and `--audit`, `--policy` and `--metrics-port`. It starts the
SuperExec of this package, and asks for messages more often while a run is active.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from client_app.join.app_process import describe_end
from client_app.join.polling import AdaptiveClock, shorten_first_pulls

MAX_POLL_SECONDS = 3.0  # Flower's wait when there is no message
SILENCE_SECONDS = 45.0  # without a heartbeat of an app, after which the coordinator hears that it is gone
RESTART_SECONDS = 3.0  # after the end of a SuperExec, in which a node that is ending as well has ended

NOT_ACTIVATED = (
    "The SuperLink does not accept this site's key. Either it is not registered there: the SuperLink's "
    "administrator registers it (condi registry). Or it was unregistered: no SuperLink registers a key "
    "twice, so make a new one (ssh-keygen -t ecdsa -b 384) and send its public half. Or a node with this key "
    "was online within the last minute: stop that one, or wait a minute and start again."
)
REFUSED_BY_SUPERLINK = (
    "The SuperLink refuses this node. At the start the reason is the clock, which may be at most 5 s ahead "
    "of the SuperLink's or 305 s behind it: set both by NTP. Later the reason is that the site was "
    "unregistered, after which it needs a new key, or that the SuperLink was restarted without --database, "
    "after which its administrator registers the site again (condi registry)."
)


class ReadableRefusals(logging.Filter):
    """Replaces Flower's code and link for a refusal by an explanation."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "Failed to activate SuperNode" in record.getMessage():
            record.msg, record.args = NOT_ACTIVATED, ()
        return True


def start_superexec(command: list[str]) -> None:
    """Start the SuperExec of this package in place of Flower's, with the same arguments.

    When it ends, it is started again: Flower does not notice, and the node would answer no message any more.
    """

    def keep_running() -> None:
        while True:
            status = subprocess.run(
                [sys.executable, "-P", "-m", "client_app.join.superexec", *command[1:]]
            ).returncode
            time.sleep(RESTART_SECONDS)
            logging.getLogger("flwr").error(
                "The process that starts apps %s; it is started again.", describe_end(status)
            )

    threading.Thread(target=keep_running, daemon=True).start()


def install_gate(arguments: list[str]) -> list[str]:
    """Put the policy and the audit log between SuperNode and SuperLink.

    Parameters
    ----------
    arguments : list of str
        Of the command line.

    Returns
    -------
    list of str
        The arguments without those for the policy and the log.
    """
    from client_app.join.gate import Gate
    from client_app.join.site_metrics import serve_site_metrics
    from client_app.node.audit_log import AuditLogError
    from client_app.node.site_policy import SitePolicy, read_policy
    from data_partitions import DataError

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--metrics-port", type=int, default=0)
    options, others = parser.parse_known_args(arguments)
    parser.add_argument("--superlink", default="")
    parser.add_argument("--host", default="127.0.0.1")
    flower = parser.parse_known_args(arguments)[0]
    try:
        policy = read_policy(options.policy) if options.policy else SitePolicy()
        Gate(policy, options.audit.absolute(), flower.superlink).install()
        if options.metrics_port:
            serve_site_metrics(options.audit.absolute(), flower.host, options.metrics_port)
    except ImportError:
        sys.exit("Error: --metrics-port needs prometheus_client: pip install 'condi[metrics]'")
    except (AuditLogError, DataError, OSError) as error:
        sys.exit(f"Error: {error}")
    return others


def main() -> None:
    """Run `flower-supernode` with the arguments of this process."""
    sys.argv[1:] = install_gate(sys.argv[1:])
    from flwr.supercore.corestate import in_memory_corestate
    from flwr.supernode import start_client_internal

    patience = SILENCE_SECONDS / in_memory_corestate.HEARTBEAT_DEFAULT_INTERVAL
    in_memory_corestate.HEARTBEAT_PATIENCE = patience  # type: ignore[assignment]  # of intervals
    shorten_first_pulls()
    start_client_internal.time = AdaptiveClock(MAX_POLL_SECONDS)  # type: ignore[assignment]
    start_client_internal.subprocess = SimpleNamespace(Popen=start_superexec)  # type: ignore[assignment]
    logger = logging.getLogger("flwr")
    logger.addFilter(ReadableRefusals())
    refusals: list[bool] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        # Flower interrupts itself when a call is UNAUTHENTICATED (supercore/retry/grpc_retry.py), which
        # would look like a request to stop.
        if event == "os.kill" and arguments == (os.getpid(), signal.SIGINT):
            refusals.append(True)

    sys.addaudithook(watch)
    sys.argv[0] = "flower-supernode"
    (command,) = entry_points(group="console_scripts", name="flower-supernode")
    try:
        command.load()()
    except SystemExit:
        if not refusals:
            raise
        logger.error(REFUSED_BY_SUPERLINK)
        logging.shutdown()
        os._exit(1)  # A thread still waits to repeat the refused call; everything else was cleaned up.


if __name__ == "__main__":
    main()
