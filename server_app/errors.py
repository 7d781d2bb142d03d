"""Failures a coordinator can do something about, shown as one sentence."""

from __future__ import annotations

import logging

MAX_REASON_CHARS = 300  # characters of what a site wrote that are shown


class RunError(RuntimeError):
    """The run cannot start or go on: what was expected, what came, what to do."""


class TooFewSitesError(RunError):
    """Fewer than `min-sites` answered well."""


def last_line(reason: str | None) -> str:
    """Return the last line of an error's reason, which may be a whole traceback.

    Flower turns an empty reason into None on the wire.
    """
    lines = [line.strip() for line in (reason or "").splitlines() if line.strip()]
    return without_control_characters(lines[-1][:MAX_REASON_CHARS]) if lines else "no reason given"


def without_control_characters(text: str) -> str:
    """What somebody else wrote, without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


class RunErrorFilter(logging.Filter):
    """Shows a RunError in Flower's log as its sentence, without the traceback and the exit code after it."""

    said = False

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RunError):
            self.said = True
            record.msg, record.args = str(error), ()
            record.exc_info = record.exc_text = None
        return not (self.said and record.getMessage().startswith("Exit Code:"))
