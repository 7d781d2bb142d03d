"""Flower's SuperNode, with its refusals in words that the administrator of a site can use."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points

# What Flower says when it gives up → what it means here.
SENTENCES = {
    "Failed to activate SuperNode": (
        "The SuperLink does not accept this site's key. Either it is not registered there: its administrator "
        "does that by `flwr supernode register site.pub CONNECTION --name NAME`. Or a node with this key was "
        "online within the last minute: end that one, or wait a minute and start again."
    ),
    "Invalid timestamp": (
        "The SuperLink does not accept this machine's clock: it may be 5 s ahead of the SuperLink's or 305 s "
        "behind. Set both by NTP and start again."
    ),
}


class InWords(logging.Filter):
    """Shows a refusal as what it means, instead of a code and a link."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            for said, meant in SENTENCES.items():
                if said in message:
                    record.msg, record.args = meant, ()
        return True


def main() -> None:
    logging.getLogger("flwr").addFilter(InWords())
    sys.argv[0] = "flower-supernode"
    (command,) = entry_points(group="console_scripts", name="flower-supernode")
    sys.exit(command.load()())


if __name__ == "__main__":
    main()
