"""How long Flower's loops wait before they ask for work again."""

from __future__ import annotations

import time
from typing import Any

MIN_POLL_SECONDS = 0.1
FIRST_PULL_SECONDS = 0.05  # after which a part of a message that was not there yet is asked for again
IDLE_FRACTION = 0.1  # of an idle time, which is waited before Flower asks again


class AdaptiveClock:
    """Stands for the module `time` in a loop of Flower: short waits after activity, long ones when idle.

    The idle time before the last activity counts like that since then. In a large federation it is long, and
    its many nodes would slow down the coordinator if they asked often after each message.

    Parameters
    ----------
    max_seconds : float
        Longest wait, that of Flower.
    idle_fraction : float
        Of the longer of the two idle times, which is waited.
    """

    def __init__(self, max_seconds: float, idle_fraction: float = IDLE_FRACTION) -> None:
        self._max_seconds = max_seconds
        self._idle_fraction = idle_fraction
        self._last_activity = time.monotonic()
        self._last_idle_seconds = 0.0  # before the last activity
        self._is_idle = False

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def note_activity(self) -> None:
        """Start again with short waits."""
        now = time.monotonic()
        if self._is_idle:
            self._last_idle_seconds, self._is_idle = now - self._last_activity, False
        self._last_activity = now

    def sleep(self, seconds: float) -> None:
        """Wait for a fraction of the idle time, within 0.1 s and the longest wait.

        Shorter waits than the longest are for an app or a message that is on its way, and are activity.
        """
        if seconds < self._max_seconds:
            self.note_activity()
            time.sleep(min(seconds, MIN_POLL_SECONDS))
            return
        self._is_idle = True
        idle_seconds = max(time.monotonic() - self._last_activity, self._last_idle_seconds)
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
