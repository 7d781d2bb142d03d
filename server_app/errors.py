"""Failures a coordinator can do something about, shown as one sentence."""

from __future__ import annotations

import logging


class RunError(RuntimeError):
    """The run cannot start or go on: what was expected, what came, what to do."""


class OneSentence(logging.Filter):
    """Shows a RunError in Flower's log as its sentence, without the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], RunError):
            record.msg, record.args = str(record.exc_info[1]), ()
            record.exc_info = record.exc_text = None
        return True
