"""Where windows start, and which are used."""

import numpy as np
import pytest

from data_partitions.description.sections import WindowSection
from data_partitions.sources.described.annotations import Annotation
from data_partitions.sources.described.windows import cut_annotations, cut_recording, near_others


def window(**fields):
    return WindowSection.model_validate({"length": "10 s"} | fields)


@pytest.mark.parametrize(
    ("fields", "seconds", "origin", "starts", "cut_off"),
    [
        ({}, 35.0, 0.0, [0, 10, 20], 5.0),
        ({}, 30.0 - 1e-9, 0.0, [0, 10, 20], 0.0),
        ({"stride": "5 s"}, 22.0, 0.0, [0, 5, 10], 2.0),
        ({}, 35.0, 12.5, [12.5, 22.5], 2.5),
        ({}, 9.0, 0.0, [], 9.0),
        ({"take": "first"}, 35.0, 0.0, [0], 0.0),
        ({"take": "last"}, 35.0, 0.0, [25], 0.0),
        ({"take": "first"}, 9.0, 0.0, [0], 0.0),
        ({"take": "first"}, 9.0, 10.0, [], 0.0),
    ],
)
def test_recordings_are_cut_into_complete_windows(fields, seconds, origin, starts, cut_off):
    cut = cut_recording(window(**fields), "r", seconds, origin)
    np.testing.assert_allclose(cut.starts, starts)
    assert cut.seconds_cut_off == pytest.approx(cut_off, abs=1e-6)


def test_random_windows_depend_on_the_name_of_the_recording_alone():
    draws = {name: cut_recording(window(take="random:3"), name, 1000.0).starts for name in ("a", "b")}
    again = cut_recording(window(take="random:3"), "a", 1000.0).starts
    assert draws["a"].tolist() == again.tolist() == sorted(set(again)) != draws["b"].tolist()
    assert len(cut_recording(window(take="random:3"), "a", 25.0).starts) == 2


def test_annotations_are_cut_into_complete_windows_of_their_own():
    states = [
        Annotation(-5, 20, "W"),
        Annotation(15, 29, "N1"),
        Annotation(50, 100, "W"),
        Annotation(90, 0, "x"),
    ]
    cut = cut_annotations(window(), states, 75.0)
    np.testing.assert_allclose(cut.starts, [5, 15, 25, 50, 60])
    assert [a.text for a in cut.annotations] == ["W", "N1", "N1", "W", "W"]
    assert cut.seconds_cut_off == pytest.approx(9 + 5)
    assert cut_annotations(window(), [Annotation(3, 0, "beat")], 75.0).starts.tolist() == [3]


def test_windows_around_others_are_kept_within_some_minutes():
    starts = 60.0 * np.arange(10)
    around = np.array([1, 1, 1, 0, 1, 1, 0, 1, 1, 1], bool)
    assert near_others(starts, around, 1).tolist() == [False, False] + [True] * 6 + [False, False]
    assert not near_others(starts, np.ones(10, bool), 1).any()
