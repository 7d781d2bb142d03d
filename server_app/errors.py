"""Errors that the operator of the coordinator can act on, each shown as one sentence."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

MAX_REASON_CHARS = 300  # characters shown of a reason that a site wrote

# Ends the message of a RunError that no resumption can mend. A study recognises such errors by this text,
# because Flower passes only the message of an error on from the process of a run.
NEW_RUN_HINT = "start a new run"


class RunError(RuntimeError):
    """The run cannot start or continue; the message says what was expected, what came and what to do."""


class TooFewSitesError(RunError):
    """Fewer than `min-sites` sites sent a valid reply; `requested` names the sites that were asked."""

    def __init__(self, message: str, requested: Sequence[str]) -> None:
        super().__init__(message)
        self.requested = list(requested)


def last_line(reason: str | None) -> str:
    """Return the last line of an error's reason, which may be a whole traceback.

    Flower turns an empty reason into None on the wire.
    """
    lines = [line.strip() for line in (reason or "").splitlines() if line.strip()]
    return printable(lines[-1]) if lines else "no reason given"


def line_with_error(log: str) -> str:
    """Return the last line of a log that names an error; without one, the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    # uvicorn logs everything, also what is no error, under the name `uvicorn.error`.
    errors = [line for line in lines if re.search(r"(?<!\.)error\b", line, re.IGNORECASE)]
    return (errors or lines or ["it printed nothing"])[-1]


def printable(text: str) -> str:
    """Shorten an untrusted text, and replace what could control a terminal or cannot be encoded."""
    if len(text) > MAX_REASON_CHARS:
        text = f"{text[: MAX_REASON_CHARS - 3]}..."
    return "".join(c if c.isprintable() else "?" for c in text)


class RunErrorFilter(logging.Filter):
    """Show a RunError in Flower's log as one sentence, without its traceback and the exit code after it."""

    has_shown_error = False

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RunError):
            self.has_shown_error = True
            record.msg, record.args = str(error), ()
            record.exc_info = record.exc_text = None
        return not (self.has_shown_error and record.getMessage().startswith("Exit Code:"))
