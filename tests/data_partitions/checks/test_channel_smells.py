"""Each smell of a channel is measured as a number, and clean channels have none."""

import numpy as np
import pytest

from data_partitions.checks.channel_smells import (
    clipped_share,
    codes_for_missing,
    constant_share,
    is_flat,
    runs_of,
    share_outside,
)

RATE = 100.0


def ecg(seconds: int = 10, resolution: float = 0.005) -> np.ndarray:
    """Return beats of 1 mV on a wandering baseline with noise, in mV at 100 Hz."""
    rng = np.random.default_rng(3)
    time = np.arange(int(seconds * RATE)) / RATE
    beats = np.exp(-0.5 * (((time % 0.8) - 0.4) / 0.02) ** 2)
    signal = beats + 0.1 * np.sin(0.7 * time) + 0.02 * rng.standard_normal(time.size)
    return np.round(signal / resolution) * resolution


def test_share_outside_counts_observed_values_only():
    assert share_outside(np.array([1.0, 2.0, np.nan, 400.0]), 0, 300) == pytest.approx(1 / 3)
    assert share_outside(np.full(5, np.nan), 0, 300) == 0


def test_only_a_constant_channel_is_flat():
    assert is_flat(np.zeros(100))
    assert not is_flat(ecg())
    assert not is_flat(np.zeros(10))  # too short to judge
    assert not is_flat(np.full(100, np.nan))


@pytest.mark.parametrize("code", [-1.0, -999.0, 0.0, 999.0])
def test_a_code_for_missing_is_counted(code):
    rate = np.random.default_rng(0).normal(80, 5, 500).round()
    rate[[10, 20, 30]] = code
    assert codes_for_missing(rate) == {code: 3}


def test_two_codes_are_counted_separately():
    rate = np.random.default_rng(0).normal(80, 5, 500).round()
    rate[:4], rate[4:10] = -999, -1
    assert codes_for_missing(rate) == {-999: 4, -1: 6}


def test_values_that_reach_a_code_are_no_codes():
    assert codes_for_missing(ecg()) == {}
    counts = np.random.default_rng(0).poisson(1.0, 500).astype(float)  # 0 is common and real
    assert codes_for_missing(counts) == {}


@pytest.mark.parametrize("sign", [1, -1])
def test_clipping_is_measured_as_a_share_of_the_samples(sign):
    clipped = np.minimum(ecg(), 0.5)
    share = np.mean(clipped == 0.5)
    assert share > 0.03
    assert 0.7 * share < clipped_share(sign * clipped) <= share


def test_unclipped_ecg_and_a_saturation_at_its_natural_bound_are_not_clipped():
    assert clipped_share(ecg()) == 0
    walk = np.cumsum(np.random.default_rng(1).choice([-0.1, 0, 0.1], 2000)) + 98
    assert clipped_share(np.minimum(walk, 100)) == 0


def test_constant_stretches_are_measured_with_their_value():
    signal = ecg(20)
    signal[500:900] = 0.0
    share, value = constant_share(signal, RATE)
    assert share == pytest.approx(400 / 2000, abs=0.002)
    assert value == 0
    assert constant_share(ecg(), RATE)[0] == 0


def test_missing_samples_end_a_run():
    values = np.array([1.0, 1, 1, np.nan, np.nan, np.nan, 2, 2, 2])
    assert [(run.first, run.last) for run in runs_of(values, 3)] == [(0, 3), (6, 9)]
