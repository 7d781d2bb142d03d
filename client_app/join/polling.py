"""How long Flower's loops wait before they ask for work again."""

from __future__ import annotations

import time
from typing import Any

MIN_POLL_SECONDS = 0.1
FIRST_PULL_SECONDS = 0.05  # after which a part of a message that was not there yet is asked for again
IDLE_FRACTION = 0.1  # of the idle time, which is waited before Flower asks again


class AdaptiveClock:
    """Stands for the module `time` in a loop of Flower: short waits after activity, long ones when idle.

    Parameters
    ----------
    max_seconds : float
        Longest wait, that of Flower.
    idle_fraction : float
        Of the time since the last activity, which is waited.
    """

    def __init__(self, max_seconds: float, idle_fraction: float = IDLE_FRACTION) -> None:
        self._max_seconds = max_seconds
        self._idle_fraction = idle_fraction
        self._last_activity = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def note_activity(self) -> None:
        """Start again with short waits."""
        self._last_activity = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for a fraction of the time since the last activity, within 0.1 s and the longest wait.

        Shorter waits than the longest are for an app or a message that is on its way, and are activity.
        """
        if seconds < self._max_seconds:
            self.note_activity()
            time.sleep(min(seconds, MIN_POLL_SECONDS))
            return
        idle_seconds = time.monotonic() - self._last_activity
        time.sleep(min(max(self._idle_fraction * idle_seconds, MIN_POLL_SECONDS), self._max_seconds))


def shorten_first_pulls() -> None:
    """Let this process ask for a missing part of a message again soon, and not after Flower's second.

    An app starts while its node still receives the message. The waits double from one request to the next, as
    before, up to ten seconds.
    """
    from flwr.supercore.inflatable import inflatable_utils

    for function in (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree):
        defaults: dict[str, Any] = function.__kwdefaults__ or {}
        defaults["initial_backoff"] = FIRST_PULL_SECONDS
