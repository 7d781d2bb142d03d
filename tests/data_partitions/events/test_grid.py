"""Several measurements in one step, overlapping windows, and times at the borders of steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_partitions.events import grid
from data_partitions.events.grid import GridSignal, GridWindows
from data_partitions.events.window_finder import WindowFinder

HOUR = 3_600_000_000
WITHIN = {
    "last": lambda v: v[-1],
    "first": lambda v: v[0],
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
}


def fill(within, minutes, values, channels=None, parts=1):
    windows = GridWindows([GridSignal(4, HOUR, within)], 1)
    channels = np.zeros(len(values), int) if channels is None else np.array(channels)
    for rows in np.array_split(np.arange(len(values)), parts):
        times = np.array(minutes, np.int64)[rows] * 60_000_000
        zeros = np.zeros(len(rows), int)
        windows.add(zeros, zeros, times, channels[rows], np.array(values, float)[rows])
    return windows.read(0)[0]


@pytest.mark.parametrize("within", WITHIN)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_step_has_the_value_of_a_plain_loop(within, data):
    count = data.draw(st.integers(1, 30))
    minutes = data.draw(st.lists(st.integers(0, 239), min_size=count, max_size=count))
    values = data.draw(st.lists(st.integers(-50, 50), min_size=count, max_size=count))
    channels = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    parts = data.draw(st.integers(1, 4))
    expected = np.full(4, np.nan)
    for step in range(4):
        rows = [i for i in range(count) if minutes[i] // 60 == step]
        if rows:
            preferred = min(channels[i] for i in rows)
            rows = sorted((i for i in rows if channels[i] == preferred), key=lambda i: minutes[i])
            expected[step] = WITHIN[within](np.array([values[i] for i in rows], float))
    np.testing.assert_allclose(fill(within, minutes, values, channels, parts), expected, rtol=1e-5, atol=1e-5)


def test_of_equal_times_the_last_is_the_later_row_and_the_first_the_earlier():
    assert fill("last", [5, 5, 3], [1, 2, 3])[0] == 2
    assert fill("first", [5, 5, 9], [1, 2, 3])[0] == 1


def test_large_windows_lie_in_a_file_and_are_the_same(monkeypatch):
    expected = fill("mean", [1, 2, 70], [1, 2, 5])
    monkeypatch.setattr(grid, "MAX_MEMORY_BYTES", 1)
    np.testing.assert_array_equal(fill("mean", [1, 2, 70], [1, 2, 5]), expected)


def test_steps_that_are_no_whole_microseconds_have_each_sample():
    rate = 360
    windows = GridWindows([GridSignal(3600, 1e6 / rate, "last")], 1)
    times = np.round(np.arange(3600) / rate * 1e6).astype(np.int64)
    zeros = np.zeros(3600, int)
    windows.add(zeros, zeros, times, zeros, np.arange(3600.0))
    np.testing.assert_array_equal(windows.read(0)[0], np.arange(3600))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_event_is_in_each_window_that_contains_it(data):
    starts = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 50)), min_size=1, max_size=12))
    events = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(-80, 80)), min_size=1, max_size=20))
    recordings = {recording for recording, _ in starts}
    events = [event for event in events if event[0] in recordings] or [starts[0]]
    recording, start = (np.array(x, np.int64) for x in zip(*starts, strict=True))
    owner, time = (np.array(x, np.int64) for x in zip(*events, strict=True))
    expected = sorted(
        (event, window, time[event] - start[window])
        for event in range(len(time))
        for window in range(len(start))
        if owner[event] == recording[window] and 0 <= time[event] - start[window] < 10
    )
    finder = WindowFinder(recording, start, 10)
    matches = [match for part in finder.find(owner, time) for match in zip(*part, strict=True)]
    assert sorted(matches) == expected
    early = [time[i] < start[recording == owner[i]].min() for i in range(len(time))]
    assert finder.is_early(owner, time).tolist() == early
