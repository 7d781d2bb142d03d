import numpy as np
import pytest

from data_partitions.signals.signal_map import SignalMap
from data_partitions.signals.signal_spec import SignalSpec
from tests.helpers.arrays_as_recordings import ArrayRecording

RNG = np.random.default_rng(0)


def match_signal(samples, rate=100.0, unit="mV", model_rate=100.0, **fields):
    spec = SignalSpec("I", "mV", model_rate, **fields)
    return SignalMap((spec,), allow_other_rates=True).match(ArrayRecording(("I", unit, rate, samples)))


def test_samples_are_read_at_their_time_and_missing_beyond_the_ends():
    match = match_signal(np.arange(1000.0))
    assert match.seconds == 10
    assert match.read("I", 2.5, 0.03).tolist() == [250, 251, 252]
    ends = match.read("I", 9.99, 0.03)
    assert ends[0] == 999
    assert np.isnan(ends[1:]).all()
    assert ends.dtype == np.float32


def test_values_outside_the_range_are_dropped_and_counted_once():
    samples = np.zeros(1000)
    samples[[10, 490, 505]] = [-11, 1e9, np.inf]
    match = match_signal(samples, range=(-10, 10))
    for start_s in (0, 2.5, 5):  # windows that overlap
        window = match.read("I", start_s, 5)
        assert np.array_equal(np.isnan(window), np.abs(samples[int(100 * start_s) :][:500]) > 10)
    assert match.dropped == {"I": 3}


def test_the_range_is_that_of_float32_if_none_is_given():
    samples = np.array([1.0, 1.79769313486231e308, -np.inf, 2.0])
    match = match_signal(samples, unit="uV")
    assert np.isnan(match.read("I", 0, 0.04)).tolist() == [False, True, True, False]
    assert match.dropped == {"I": 2}


def test_ranges_are_in_the_unit_of_the_model():
    match = match_signal(np.array([9000.0, 11000.0]), unit="uV", range=(-10, 10))
    np.testing.assert_array_equal(match.read("I", 0, 0.02), np.float32([9, np.nan]))


def test_values_outside_the_range_do_not_reach_their_neighbours_by_resampling():
    samples = np.sin(np.arange(5000) / 100)
    clean = match_signal(samples, 500.0, range=(-2, 2)).read("I", 0, 10)
    samples[2500] = 30000
    match = match_signal(samples, 500.0, range=(-2, 2))
    resampled = np.concatenate([match.read("I", start_s, 2.5) for start_s in (0, 2.5, 5, 7.5)])
    assert match.dropped == {"I": 1}
    np.testing.assert_allclose(resampled, clean, atol=0.01)


def test_resampling_does_not_leave_the_range():
    samples = np.where(np.arange(5000) // 250 % 2, 1.0, -1.0)
    resampled = match_signal(samples, 500.0, range=(-1, 1)).read("I", 0, 10)
    assert np.nanmax(np.abs(resampled)) == 1


def test_windows_of_a_resampled_channel_are_parts_of_the_whole():
    match = match_signal(RNG.normal(size=36000), 360.0)
    whole = match.read("I", 0, 100)
    windows = [match.read("I", start_s, 10) for start_s in range(0, 100, 10)]
    np.testing.assert_array_equal(np.concatenate(windows), whole)


def test_a_difference_is_that_of_the_converted_channels():
    spec = SignalSpec("C3-M2", "uV", 100, (("C3", "-", "M2"),), range=(-100, 100))
    c3, m2 = RNG.normal(size=(2, 1000))
    recording = ArrayRecording(("M2", "mV", 100, m2 / 1000), ("C3", "uV", 100, c3))
    match = SignalMap((spec,)).match(recording)
    np.testing.assert_allclose(match.read("C3-M2", 0, 10), c3 - m2, rtol=1e-4, atol=1e-5)
    assert match.differences == ("C3-M2",)
    assert match.to_file("C3-M2", np.zeros(10), 0) == []


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ("last", [2, 5, np.nan, 11]),
        ("first", [0, 3, np.nan, 9]),
        ("mean", [1, 4, np.nan, 10]),
        ("median", [1, 4, np.nan, 10]),
        ("min", [0, 3, np.nan, 9]),
        ("max", [2, 5, np.nan, 11]),
        ("sum", [3, 8, np.nan, 30]),
    ],
)
def test_of_several_values_in_a_step_that_counts_which_the_description_says(within, expected):
    values = np.arange(12.0)  # every 20 min
    values[[4, 6, 7, 8]] = np.nan
    match = match_signal(values, 1 / 1200, model_rate=1 / 3600, within=within)
    np.testing.assert_array_equal(match.read("I", 0, 4 * 3600), expected)


def test_a_slower_table_has_values_in_the_steps_in_which_it_states_them():
    match = match_signal(np.array([1.0, 2.0]), 1 / 3600, model_rate=1 / 1200, within="last")
    np.testing.assert_array_equal(match.read("I", 0, 7200), [1, np.nan, np.nan, 2, np.nan, np.nan])


def test_samples_go_back_to_the_place_they_came_from():
    samples = RNG.normal(size=1000)
    match = match_signal(samples, unit="uV")
    (piece,) = match.to_file("I", match.read("I", 3, 10), 3)  # reaches beyond the end
    assert (piece.channel, piece.first, len(piece.samples)) == (0, 300, 700)
    np.testing.assert_allclose(piece.samples, samples[300:], rtol=1e-6)


@pytest.mark.parametrize("rate", [500.0, 360.0, 128.0, 50.0, 99.97])
def test_successive_stretches_fill_every_sample_of_the_file(rate):
    seconds = 60
    time_s = np.arange(seconds * rate) / rate
    match = match_signal(np.full(len(time_s), np.nan), rate)
    model = np.sin(2 * np.pi * 3 * np.arange(seconds * 100) / 100)
    filled = np.full(len(time_s), np.nan)
    for start in range(0, seconds, 10):
        low, high = max(0, start - 1), min(seconds, start + 11)
        (piece,) = match.to_file("I", model[100 * low : 100 * high], low, start, start + 10)
        assert np.isnan(filled[piece.first : piece.first + len(piece.samples)]).all()
        filled[piece.first : piece.first + len(piece.samples)] = piece.samples
    # At the very end there is no sample of the model within half a sample.
    assert np.isnan(filled).sum() <= max(1, rate / 100)
    inner = slice(int(rate), int((seconds - 1) * rate))
    np.testing.assert_allclose(filled[inner], np.sin(2 * np.pi * 3 * time_s)[inner], atol=1e-3)


def test_a_value_of_a_step_fills_all_times_of_a_table_in_it():
    match = match_signal(np.full(9, np.nan), 1 / 1200, model_rate=1 / 3600, within="last")
    (piece,) = match.to_file("I", np.array([7.0, 8.0]), 3600)
    assert (piece.first, piece.samples.tolist()) == (3, [7, 7, 7, 8, 8, 8])
