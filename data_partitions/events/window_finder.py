"""Find the windows that contain a time of a recording; windows of one recording may overlap."""

from collections.abc import Iterator

import numpy as np


class WindowFinder:
    """The windows of recordings: position of the recording, and start (µs) on the time axis of the files."""

    def __init__(self, recording: np.ndarray, start: np.ndarray, length: int):
        self._length = length
        self._order = np.lexsort((start, recording))
        self._recording, self._start = recording[self._order], start[self._order]
        self._first = np.full(int(recording.max(initial=-1)) + 1, np.iinfo(np.int64).max)
        np.minimum.at(self._first, recording, start)
        # Recordings follow each other on one axis, at a distance that exceeds all their times.
        latest = (self._start - self._first[self._recording]).max(initial=0)
        self._span = int(latest) + length + 2
        self._position = self._recording * self._span + self._start - self._first[self._recording]
        ends = np.searchsorted(self._position, self._position + length, side="left")
        self.overlap = int((ends - np.arange(len(ends))).max(initial=1))

    def find(
        self, recording: np.ndarray, microseconds: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, at most `overlap` times, events with a window, the window, and the µs since its start."""
        since_first = microseconds - self._first[recording]
        position = recording * self._span + np.clip(since_first, -1, self._span - 2)
        last = np.searchsorted(self._position, position, side="right") - 1
        for back in range(self.overlap):
            window = last - back
            exists = window >= 0
            exists[exists] &= self._recording[window[exists]] == recording[exists]
            since_start = np.where(exists, microseconds - self._start[window], -1)
            inside = np.flatnonzero(exists & (since_start >= 0) & (since_start < self._length))
            yield inside, self._order[window[inside]], since_start[inside]

    def is_early(self, recording: np.ndarray, microseconds: np.ndarray) -> np.ndarray:
        """Tell which events are before the first window of their recording."""
        return microseconds < self._first[recording]
