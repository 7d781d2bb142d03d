"""Curves read from score histograms, against the scores they are of."""

import math

import numpy as np
import pytest
import torch

from condi_core.evaluation.classification import (
    BINS,
    auroc,
    calibration_error,
    roc,
    score_histograms,
)
from condi_core.task.kind import MULTI_LABEL, SINGLE_LABEL


def histograms(p, y):
    sums = MULTI_LABEL.sums(torch.from_numpy(p)[:, None], torch.from_numpy(y)[:, None])
    return score_histograms(sums["task"])[0]


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=5000)
    return p, (rng.uniform(size=5000) < p).astype(float)


def test_the_area_under_the_roc_curve_is_the_auroc(scores):
    pair = histograms(*scores)
    false, true = roc(*pair)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    assert np.trapezoid(true, false) == pytest.approx(auroc(*pair), abs=1e-12)


def test_the_calibration_error_is_the_mean_distance_of_scores_and_rates_in_tenths(scores):
    p, y = scores
    tenths = [(p >= k / 10) & (p < (k + 1) / 10) for k in range(10)]
    expected = sum(inside.mean() * abs(p[inside].mean() - y[inside].mean()) for inside in tenths)
    assert calibration_error(*histograms(p, y)) == pytest.approx(expected, abs=0.5 / BINS)


def test_calibrated_scores_have_no_calibration_error_and_shifted_ones_have_the_shift(scores):
    p, y = scores
    assert calibration_error(*histograms(p, y)) < 0.03
    always = np.full(400, 0.75)
    assert calibration_error(*histograms(always, (np.arange(400) % 4 > 0) * 1.0)) == pytest.approx(
        0, abs=1 / BINS
    )
    assert calibration_error(*histograms(always, np.zeros(400))) == pytest.approx(0.75, abs=1 / BINS)


def test_empty_bins_do_not_count():
    positives, negatives = np.zeros(BINS), np.zeros(BINS)
    assert math.isnan(calibration_error(positives, negatives))
    positives[BINS - 1] = 3
    assert calibration_error(positives, negatives) == pytest.approx(0.5 / BINS)
    assert roc(positives, negatives)[0].tolist() == [0] * (BINS + 1)


def test_a_confusion_matrix_has_the_counts_of_decisions():
    rng = np.random.default_rng(1)
    p = torch.from_numpy(rng.dirichlet(np.ones(4), 200))
    true = rng.integers(0, 4, 200)
    y = torch.eye(4)[true]
    sums_by_name = SINGLE_LABEL.sums(p, y)
    table, sums = sums_by_name["confusion"], sums_by_name["task"]
    assert table[2, 1] == ((true == 2) & (p.argmax(1).numpy() == 1)).sum() > 0
    hits, wrong, missed = sums[:, 0], sums[:, 1], sums[:, 2]
    assert (table.diagonal() == hits).all()
    assert (table.sum(0) == hits + wrong).all() and (table.sum(1) == hits + missed).all()
