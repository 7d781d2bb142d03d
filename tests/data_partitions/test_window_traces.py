"""The rules by which windows are drawn: unit of time, isolated samples, modalities, part of the window."""

import numpy as np
import pytest

from data_partitions.manifest import Modality
from data_partitions.window_traces import (
    DrawnWindow,
    TimeUnit,
    choose_patches,
    choose_shown_seconds,
    choose_time_unit,
    isolated_samples,
    label_modality,
    split_by_data,
)

NAN = np.nan


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(10, "s"), (599, "s"), (600, "min"), (7200, "h"), (48 * 3600, "h"), (30 * 86400, "d")],
)
def test_time_is_in_hours_for_stays_and_in_seconds_for_waveforms(seconds, unit):
    assert choose_time_unit(seconds).name == unit


def test_a_sample_is_isolated_if_no_neighbour_was_measured():
    line = np.array([1, NAN, 2, 3, NAN, 4, NAN, NAN, 5])
    assert np.flatnonzero(isolated_samples(line)).tolist() == [0, 5, 8]


def test_modalities_without_samples_come_last_or_are_listed():
    assert split_by_data([False, True, False, True], most_panels=4) == ([1, 3, 0, 2], [])
    assert split_by_data([False, True, False, True], most_panels=3) == ([1, 3], [0, 2])
    assert split_by_data([False, False], most_panels=1) == ([0, 1], [])


def test_all_of_an_hourly_window_is_shown_and_seconds_of_a_waveform():
    assert choose_shown_seconds(48 * 3600, 3600, 1) == 48 * 3600
    assert choose_shown_seconds(10, 0.1, 10) == choose_shown_seconds(10, 0.1, 50) == 4
    assert choose_shown_seconds(2, 0.1, 10) == 2
    assert choose_patches(np.array([0, 1, 0, 3, 2, 0]), 2) == slice(3, 5)
    assert choose_patches(np.array([0, 1]), 9) == slice(0, 2)


def test_a_trace_has_the_samples_of_its_patches_at_their_times():
    modality = Modality(name="HR", unit="bpm", rate=2 / 3600, samples_per_patch=2, present=True)
    values = np.arange(12.0).reshape(1, 3, 4)  # three patches of two samples, and padding
    conditioning = np.zeros((1, 3, 4), bool)
    conditioning[0, 1, 0] = True
    target = np.zeros((1, 3, 4), bool)
    target[0, 2, 1] = True
    window = DrawnWindow([modality], 3600.0, values, conditioning, target, np.stack([values] * 3))
    trace = window.trace(0, slice(1, 3), TimeUnit("h", 3600))
    assert trace.time.tolist() == [1, 1.5, 2, 2.5]
    np.testing.assert_array_equal(trace.conditioning, [4, NAN, NAN, NAN])
    np.testing.assert_array_equal(trace.target, [NAN, NAN, NAN, 9])
    np.testing.assert_array_equal(trace.median, [NAN, 5, 8, 9])
    assert trace.label == "HR (bpm)" and label_modality("pH", "pH") == label_modality("pH", "") == "pH"
