from math import ceil

import numpy as np
import pytest

from data_partitions.signals.resampling import find_ratio, has_same_rate, resample
from tests.helpers.arrays_as_recordings import read_array

RATES = [(500, 100), (360, 250), (256, 100), (249.97, 250), (100, 250), (128, 125), (1, 100)]
DOWNWARD = [(500, 100), (360, 250), (256, 100), (1000, 128)]
# New samples that the ends of a channel reach: 25 samples of the lower rate, and one.
EDGE_PERIODS = 27


def resample_array(samples: np.ndarray, rate: float, target_rate: float) -> np.ndarray:
    count = ceil(len(samples) * find_ratio(rate, target_rate))
    return resample(lambda first, last: read_array(samples, first, last), rate, target_rate, 0, count)


def wave(hz: float, rate: float, count: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(count) / rate + 0.3)


def inner(samples: np.ndarray, rate: float, target_rate: float) -> np.ndarray:
    edge = int(np.ceil(EDGE_PERIODS * max(1, target_rate / rate)))
    return samples[edge:-edge]


@pytest.mark.parametrize(("rate", "target_rate"), RATES)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.39])  # of the lower rate; the passband ends at 0.4
def test_what_both_rates_can_represent_stays_at_its_time(rate, target_rate, share):
    hz = share * min(rate, target_rate)
    count = int(80 * rate)
    resampled = resample_array(wave(hz, rate, count), rate, target_rate)
    expected = wave(hz, target_rate, len(resampled))
    assert np.abs(inner(resampled - expected, rate, target_rate)).max() < 2e-4


@pytest.mark.parametrize(("rate", "target_rate"), DOWNWARD)
def test_what_the_lower_rate_cannot_represent_is_80_db_lower(rate, target_rate):
    for hz in np.linspace(target_rate / 2, 0.98 * rate / 2, 9):
        resampled = resample_array(wave(hz, rate, int(20 * rate)), rate, target_rate)
        assert 20 * np.log10(np.abs(inner(resampled, rate, target_rate)).max()) < -80


@pytest.mark.parametrize(("rate", "target_rate"), RATES)
def test_constants_stay_as_they_are_up_to_the_ends_and_gaps(rate, target_rate):
    samples = np.full(int(60 * rate), 1234.5)
    samples[20:30] = np.nan
    resampled = resample_array(samples, rate, target_rate)
    np.testing.assert_allclose(resampled[~np.isnan(resampled)], 1234.5, rtol=1e-12)
    assert not np.isnan(resampled[:1]).any()


@pytest.mark.parametrize(("rate", "target_rate"), RATES)
@pytest.mark.parametrize("missing", [1, 7, 400])
def test_a_gap_begins_and_ends_where_it_did(rate, target_rate, missing):
    start = 999
    samples = np.random.default_rng(0).normal(size=3000)
    samples[start : start + missing] = np.nan
    gap = np.flatnonzero(np.isnan(resample_array(samples, rate, target_rate))) / target_rate
    gap = gap[gap < 2900 / rate]  # the ends of the channel are no gap
    half = 0.5 / min(rate, target_rate)
    step = 1 / target_rate
    # A sample stands for the time to half way to its neighbours.
    first, last = (start - 0.5) / rate, (start + missing - 0.5) / rate
    if last - first > 2 * half:
        assert gap[0] == pytest.approx(first, abs=half + step)
        assert gap[-1] == pytest.approx(last, abs=half + step)
        assert np.diff(gap).max(initial=0) < 1.5 * step
    else:
        assert len(gap) <= 2 + 1.25 * (last - first) / step


def test_gaps_shorter_than_half_a_new_sample_disappear():
    samples = wave(2, 500, 5000)
    expected = resample_array(samples, 500, 100)
    samples[2000:2002] = np.nan
    assert np.nanmax(np.abs(resample_array(samples, 500, 100) - expected)) < 0.03
    assert not np.isnan(resample_array(samples, 500, 100)).any()


@pytest.mark.parametrize(("rate", "target_rate"), RATES)
def test_blocks_give_the_same_as_the_whole_file(rate, target_rate, monkeypatch):
    rng = np.random.default_rng(1)
    samples = np.where(rng.random(int(40 * rate)) < 0.1, np.nan, rng.normal(size=int(40 * rate)))

    def read(first, last):
        return read_array(samples, first, last)

    whole = resample_array(samples, rate, target_rate)
    edges = [0, 1, 17, 18, 500, 1200, len(whole)]
    blocks = [resample(read, rate, target_rate, *pair) for pair in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    monkeypatch.setattr("data_partitions.signals.resampling.READ_AT_ONCE", 300)
    np.testing.assert_array_equal(resample_array(samples, rate, target_rate), whole)


def test_nothing_is_read_far_beyond_what_is_needed():
    ranges = []

    def read(first, last):
        ranges.append((first, last))
        return np.zeros(last - first)

    resample(read, 250.003, 250, 10_000_000, 10_002_500)
    ((first, last),) = ranges
    assert first > 10_000_000 - 50
    assert last - first < 2500 + 100


def test_times_before_and_after_the_channel_are_missing():
    read = wave(5, 200, 2000)
    resampled = resample(lambda first, last: read_array(read, first, last), 200, 100, -50, 1050)
    assert np.flatnonzero(~np.isnan(resampled)).tolist() == list(range(50, 1050))


def test_rates_closer_than_the_clocks_of_recorders_are_equal():
    assert has_same_rate(250.000001, 250)
    assert not has_same_rate(250.01, 250)
