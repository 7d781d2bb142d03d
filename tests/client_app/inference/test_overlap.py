"""Overlapping windows cover a recording, and their blend is exact where windows agree."""

import numpy as np
import pytest

from client_app.inference.overlap import WindowBlend, blend_weights, window_starts


@pytest.mark.parametrize("patches, window, stride", [(1, 20, 10), (20, 20, 10), (21, 20, 10), (97, 20, 7)])
def test_windows_cover_a_recording_to_its_end_and_not_beyond(patches, window, stride):
    starts = window_starts(patches, window, stride)
    assert starts[0] == 0 and starts[-1] + window == max(patches, window)
    assert (np.diff(starts) > 0).all() and (np.diff(starts) <= stride).all()


def test_the_weights_of_windows_that_overlap_by_half_add_up_to_one():
    weights = blend_weights(20, 5).reshape(-1)
    np.testing.assert_allclose(weights[:50] + weights[50:], 1)


def blend(values, starts, window, released):
    """Blend windows of one modality; release after each window what the next does not cover."""
    weights = blend_weights(window, values.shape[-1])[None]
    blender, parts = WindowBlend(weights, levels=1), []
    for number, start in enumerate(starts):
        blender.add(start, values[number][None, None])
        end = starts[number + 1] if number + 1 < len(starts) else start + window
        if released or number + 1 == len(starts):
            first, part = blender.release(end)
            assert first == sum(p.shape[2] for p in parts)
            parts.append(part)
    return np.concatenate(parts, 2)[0, 0]


@pytest.mark.parametrize("released", [False, True])
def test_windows_that_agree_are_blended_to_the_same_values(released):
    rng = np.random.default_rng(0)
    recording = rng.standard_normal((33, 4)).astype(np.float32)
    starts = window_starts(33, 10, 5)
    windows = np.stack([recording[s : s + 10] for s in starts])
    np.testing.assert_array_equal(blend(windows, starts, 10, released), recording)


def test_the_change_from_one_window_to_the_next_is_gradual():
    starts = window_starts(15, 10, 5)
    blended = blend(np.stack([np.zeros((10, 1)), np.ones((10, 1))]), starts, 10, True)[:, 0]
    assert (blended[:5] == 0).all() and (blended[10:] == 1).all()
    steps = np.diff(blended[4:11])
    assert (steps > 0).all() and steps.max() < 0.35


def test_what_no_window_covers_is_nan():
    blender = WindowBlend(blend_weights(10, 1)[None], levels=2)
    blender.add(20, np.ones((2, 1, 10, 1)))
    first, values = blender.release(30)
    assert first == 0 and np.isnan(values[:, :, :20]).all() and (values[:, :, 20:] == 1).all()
