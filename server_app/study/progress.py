"""Estimate how long the runs of a study still take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

ENGINE_SECONDS = 20.0  # time that the engine of a run takes to start and end
SECONDS_PER_STEP = 0.12  # step of one site with the default model: a rough guess until a run has finished


@dataclass
class StudyProgress:
    """The runs of a study that are done and those that are ahead.

    Attributes
    ----------
    trains : for each run, in their order, whether it trains; the others only score what others have trained
    num_done : number of runs that are done
    seconds : duration of each run of this process, by whether it trained
    """

    trains: list[bool]
    num_done: int = 0
    seconds: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})

    @property
    def time_left(self) -> str:
        """How long the runs ahead take, such as "about 12 min left"."""
        num_ahead = Counter(self.trains[self.num_done :])
        if num_ahead[True] and not self.seconds[True]:
            return "time left is not known yet"
        mean_seconds = {
            trains: sum(seconds) / len(seconds) if seconds else ENGINE_SECONDS
            for trains, seconds in self.seconds.items()
        }
        total = sum(count * mean_seconds[trains] for trains, count in num_ahead.items())
        return f"about {total:.0f} s left" if total < 90 else f"about {total / 60:.0f} min left"
