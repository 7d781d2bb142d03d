"""Files that are unlike the others in scale or polarity are named."""

import numpy as np
import pytest

from data_partitions.checks.file_comparison import (
    name_ratio,
    opposite_channels,
    opposite_peaks,
    unlike_scales,
)


def test_files_in_another_unit_are_named_with_their_ratio():
    scales = np.random.default_rng(0).lognormal(0, 0.4, 50)
    scales[7] *= 1000 / scales[7]
    scales[8] = 0.001
    unlike = unlike_scales(scales)
    assert set(unlike) == {7, 8}
    assert name_ratio(unlike[7]) == "about 1000 times larger"
    assert name_ratio(unlike[8]) == "about 1000 times smaller"


def test_the_spread_of_bodies_is_not_unlike():
    assert unlike_scales(np.random.default_rng(0).lognormal(0, 0.5, 5000)) == {}


def test_few_files_and_files_without_a_scale_are_not_compared():
    assert unlike_scales([1.0, 1.0, 1.0, 1000.0]) == {}
    assert set(unlike_scales([1.0] * 10 + [np.nan, 0.0, 100.0])) == {12}


@pytest.mark.parametrize(("ratio", "text"), [(18, "18"), (88, "88.4"), (33, "33")])
def test_ratios_of_units_are_named(ratio, text):
    assert name_ratio(ratio) == f"about {text} times larger"


def test_a_signal_opposite_to_all_its_relatives_is_named():
    correlations = np.full((30, 5, 5), 0.8)
    correlations[4, 2, :] *= -1
    correlations[4, :, 2] *= -1
    assert opposite_channels(correlations) == [(4, 2)]


def test_a_signal_opposite_to_some_relatives_is_not_named():
    correlations = np.full((30, 5, 5), 0.8)
    correlations[4, 2, :2] *= -1
    correlations[4, :2, 2] *= -1
    assert opposite_channels(correlations) == []


def test_peaks_against_those_of_nearly_all_others_are_named():
    assert opposite_peaks([3.0] * 20 + [-3.0, 0.2, np.nan]) == [20]
    assert opposite_peaks([3.0, -3.0] * 10) == []
