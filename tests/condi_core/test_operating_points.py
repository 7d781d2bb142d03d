"""Thresholds, operating points and reliability, against the scores that the histograms are of."""

import math

import numpy as np
import pytest

from condi_core.evaluation.classification import (
    BINS,
    average_precision,
    classification_sums,
    precision_recall,
    score_histograms,
)
from condi_core.evaluation.operating_points import operating_point, sensitive_threshold, youden_threshold
from condi_core.evaluation.reliability import ReliabilityBin, reliability


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=700)
    return p, rng.uniform(size=700) < p


def histograms(p, y):
    return score_histograms(classification_sums(p[:, None], y[:, None], p[:, None] >= 0.5))[0]


def test_an_operating_point_has_the_shares_of_the_decisions(scores):
    p, y = scores
    flagged = p >= 0.7
    point = operating_point(*histograms(p, y), 0.7)
    assert point.sensitivity == pytest.approx(flagged[y].mean())
    assert point.specificity == pytest.approx((~flagged)[~y].mean())
    assert point.ppv == pytest.approx(y[flagged].mean()) and point.npv == pytest.approx((~y)[~flagged].mean())
    assert point.prevalence == pytest.approx(y.mean()) and point.flagged == flagged.sum()
    assert point.windows == 700
    assert math.isnan(operating_point(*histograms(p, y), 1.0).ppv)


def test_thresholds_reach_what_their_rules_say(scores):
    pair = histograms(*scores)
    points = [operating_point(*pair, k / BINS) for k in range(BINS)]
    best = max(point.sensitivity + point.specificity for point in points)
    chosen = operating_point(*pair, youden_threshold(*pair))
    assert chosen.sensitivity + chosen.specificity == pytest.approx(best)
    sensitive = operating_point(*pair, sensitive_threshold(*pair))
    assert sensitive.sensitivity >= 0.9
    assert sensitive.specificity == max(point.specificity for point in points if point.sensitivity >= 0.9)


def test_between_separate_scores_the_threshold_is_in_the_middle():
    pair = histograms(np.array([0.2, 0.3, 0.7, 0.9]), np.array([False, False, True, True]))
    assert youden_threshold(*pair) == sensitive_threshold(*pair) == pytest.approx(0.5, abs=1 / BINS)


def test_without_both_classes_there_is_no_threshold(scores):
    positives, negatives = histograms(*scores)
    assert youden_threshold(positives, negatives * 0) is None
    assert sensitive_threshold(positives * 0, negatives) is None


def test_the_area_below_the_precision_recall_curve_is_the_auprc(scores):
    pair = histograms(*scores)
    recall, precision = precision_recall(*pair)
    assert np.trapezoid(precision, recall) == pytest.approx(average_precision(*pair), abs=1e-12)
    assert (recall[0], recall[-1], precision[-1]) == (0, 1, pytest.approx(scores[1].mean()))


def test_bins_of_reliability_have_as_many_windows_and_the_rates_of_their_windows(scores):
    p, y = scores
    bins = reliability(*histograms(p, y))
    assert len(bins) == 10 and all(abs(bin_.windows - 70) <= 2 for bin_ in bins)
    order = np.argsort(p, kind="stable")
    assert bins[0].observed_rate == pytest.approx(y[order[: int(bins[0].windows)]].mean())
    assert bins[0].mean_score == pytest.approx(p[order[: int(bins[0].windows)]].mean(), abs=0.5 / BINS)
    assert sum(bin_.positives for bin_ in bins) == y.sum()


def test_equal_scores_are_in_one_bin_and_without_windows_there_is_none():
    (bin_,) = reliability(*histograms(np.full(400, 0.25), np.arange(400) % 4 == 0))
    assert (bin_.windows, bin_.positives) == (400, 100)
    assert bin_.mean_score == pytest.approx(0.25, abs=1 / BINS)
    assert reliability(np.zeros(BINS), np.zeros(BINS)) == []


def test_the_interval_of_a_rate_is_that_of_wilson():
    # Newcombe, Statistics in Medicine 17:857-872, 1998, table I: 81 of 263, and 0 of 20.
    assert ReliabilityBin(0.3, 81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert ReliabilityBin(0.1, 0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
