"""How far a study is, and how long its runs still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server_app.study.grid import PlannedRun

SCORING_SHARE = 0.2  # of the time of a run that trains: what one takes that only scores, as a rough guess


@dataclass
class StudyProgress:
    """The runs of a study that are done and those that are ahead.

    Attributes
    ----------
    expected : expected duration of each run, in their order; 0 where all cells exist already
    in_seconds : whether `expected` are seconds, or only proportional to them until a run has finished
    clock : returns the time in seconds
    num_done : number of runs that are done
    label : the run in progress
    """

    expected: Sequence[float]
    in_seconds: bool = False
    clock: Callable[[], float] = time.monotonic
    num_done: int = 0
    label: str = ""
    _started: float | None = None
    _actual_of_finished: float = 0.0
    _expected_of_finished: float = 0.0

    @classmethod
    def of_plan(
        cls, plan: Sequence[PlannedRun], seconds: Callable[[PlannedRun], float] | None = None
    ) -> StudyProgress:
        """Make the progress of a planned study.

        Parameters
        ----------
        plan : its runs
        seconds : estimates the duration of a run; without it, nothing is known until a run has finished
        """
        estimate = seconds or (lambda run: 1.0 if run.trains else SCORING_SHARE)
        return cls([0.0 if run.is_done else estimate(run) for run in plan], in_seconds=seconds is not None)

    def start_run(self, label: str) -> None:
        """Note that the next run starts."""
        self.label = label
        if self._started is None:
            self._started = self.clock()

    def end_run(self, completed: bool = True) -> None:
        """Note that the next run is done; one whose cells existed, or that failed, tells nothing of time."""
        if self._started is not None and completed:
            self._actual_of_finished += self.clock() - self._started
            self._expected_of_finished += self.expected[self.num_done]
        self._started = None
        self.num_done += 1

    @property
    def seconds_left(self) -> float | None:
        """How long the runs ahead take; None while that is not known.

        Runs that have finished correct the estimates of those ahead by the ratio of their durations.
        """
        if self._expected_of_finished:
            ratio = self._actual_of_finished / self._expected_of_finished
        elif self.in_seconds:
            ratio = 1.0
        else:
            return None
        running, *ahead = [ratio * expected for expected in self.expected[self.num_done :]] or [0.0]
        if self._started is not None:
            running = max(0.0, running - (self.clock() - self._started))
        return running + sum(ahead)

    @property
    def time_left(self) -> str:
        """How long the runs ahead take, such as "about 12 min left"."""
        seconds = self.seconds_left
        return "time left is not known yet" if seconds is None else f"about {describe_seconds(seconds)} left"


def describe_seconds(seconds: float) -> str:
    """Write a duration with two digits at most, such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
