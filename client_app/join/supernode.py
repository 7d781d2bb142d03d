"""Flower's SuperNode, with its refusals in words that the administrator of a site can use."""

from __future__ import annotations

import logging
import os
import signal
import sys
from importlib.metadata import entry_points
from typing import Any

NOT_ACTIVATED = (
    "The SuperLink does not accept this site's key. Either it is not registered there: its administrator "
    "does that by `flwr supernode register site.pub CONNECTION --name NAME`. Or a node with this key was "
    "online within the last minute: end that one, or wait a minute and start again."
)
REFUSED_BY_SUPERLINK = (
    "The SuperLink has turned this node away. At the start this is because of the clock, which may be 5 s "
    "ahead of the SuperLink's or 305 s behind: set both by NTP. Later it is because the site was "
    "unregistered, or forgotten by a SuperLink that was restarted without --database: its administrator "
    "registers it again."
)


class ReadableRefusals(logging.Filter):
    """Shows a refusal as what it means, instead of a code and a link."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "Failed to activate SuperNode" in record.getMessage():
            record.msg, record.args = NOT_ACTIVATED, ()
        return True


def main() -> None:
    """Run `flower-supernode` with the arguments of this process."""
    logger = logging.getLogger("flwr")
    logger.addFilter(ReadableRefusals())
    turned_away = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        # Flower interrupts itself when a call is UNAUTHENTICATED (supercore/retry/grpc_retry.py), which
        # would look like being asked to end.
        if event == "os.kill" and arguments == (os.getpid(), signal.SIGINT):
            turned_away.append(True)

    sys.addaudithook(watch)
    sys.argv[0] = "flower-supernode"
    (command,) = entry_points(group="console_scripts", name="flower-supernode")
    try:
        command.load()()
    except SystemExit:
        if not turned_away:
            raise
        logger.error(REFUSED_BY_SUPERLINK)
        logging.shutdown()
        os._exit(1)  # the call that was refused sleeps in its thread, and all has been tidied up


if __name__ == "__main__":
    main()
