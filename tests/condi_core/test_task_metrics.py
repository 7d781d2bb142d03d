"""Metrics of the task as sums, compared with brute force."""

import math

import numpy as np
import pytest
import torch

from condi_core.evaluation.catalogue import (
    CLASSIFICATION,
    EXCLUSIVE,
    metrics_of_task,
)
from condi_core.evaluation.classification import (
    BINS,
    DECISION_COUNTS,
    auroc,
    average_precision,
    kappa,
    score_histograms,
    weighted_kappa,
)
from condi_core.task.kind import BINARY, MULTI_LABEL, ORDINAL, SINGLE_LABEL, TASK_KINDS


def brute_force(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the fraction of pairs in which the positive scores higher, ties counted half."""
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    return sum(pairs) / len(pairs)


def histogram(scores: np.ndarray) -> np.ndarray:
    return np.bincount(np.round(scores * BINS).astype(int), minlength=BINS).astype(float)


def test_auroc_counts_pairs_and_half_of_ties():
    rng = np.random.default_rng(0)
    for size, levels in ((5, 3), (40, 7), (60, 900)):
        p, n = rng.integers(0, levels, size) / BINS, rng.integers(0, levels, 2 * size) / BINS
        p[:3] = (levels - 1) / BINS
        assert auroc(histogram(p), histogram(n)) == pytest.approx(brute_force(p, n))
    assert auroc(histogram(np.array([0.9, 0.8])), histogram(np.array([0.1]))) == 1
    assert auroc(histogram(np.array([0.1])), histogram(np.array([0.9, 0.8]))) == 0
    assert auroc(histogram(np.full(4, 0.5)), histogram(np.full(3, 0.5))) == 0.5


def test_auroc_without_one_of_the_classes_is_not_a_number():
    assert math.isnan(auroc(np.zeros(BINS), histogram(np.array([0.5]))))
    assert math.isnan(auroc(histogram(np.array([0.5])), np.zeros(BINS)))


def test_average_precision_is_the_mean_of_precision_at_each_positive():
    assert average_precision(histogram(np.array([0.9, 0.8])), histogram(np.array([0.1]))) == 1
    # In order of score: + - + - -, so precision is 1/1 at the first positive and 2/3 at the second.
    p, n = histogram(np.array([0.9, 0.5])), histogram(np.array([0.7, 0.3, 0.1]))
    assert average_precision(p, n) == pytest.approx((1 + 2 / 3) / 2)
    # The average precision of uninformative scores is the prevalence.
    assert average_precision(histogram(np.full(3, 0.5)), histogram(np.full(9, 0.5))) == pytest.approx(0.25)
    assert math.isnan(average_precision(np.zeros(BINS), p))
    # Replicates are sums over weighted patients, of which there may be less than 1 in a bin.
    assert average_precision(0.1 * p, 0.1 * n) == pytest.approx(average_precision(p, n))


def decided(true, chosen, labels):
    """Return the sums of a single-label task in which these labels were true and decided for."""
    one_hot = torch.nn.functional.one_hot
    sums = SINGLE_LABEL.sums(
        one_hot(torch.tensor(chosen), labels).float(), one_hot(torch.tensor(true), labels)
    )
    return sums["task"]


def test_kappa_by_hand():
    # Cohen (1960): agreement beyond that of the margins. 2 x 2: 20 + 15 of 50 agree, margins 25/25 and 30/20.
    true = [0] * 25 + [1] * 25
    chosen = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    assert kappa(decided(true, chosen, 2)) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    # Of two labels the weighted one is the same; of more, near misses cost less.
    assert weighted_kappa(decided(true, chosen, 2)) == pytest.approx(0.4)
    true, near, far = [0, 1, 2, 3] * 5, [1, 1, 2, 3] * 5, [3, 1, 2, 3] * 5
    assert weighted_kappa(decided(true, near, 4)) > kappa(decided(true, near, 4))
    assert weighted_kappa(decided(true, near, 4)) > weighted_kappa(decided(true, far, 4))
    # By definition: 1 - (mean distance) / (mean distance of independent draws from the margins).
    by_chance = np.mean([abs(t - c) for t in true for c in near])
    assert weighted_kappa(decided(true, near, 4)) == pytest.approx(1 - 0.25 / by_chance)
    assert weighted_kappa(decided(true, true, 4)) == kappa(decided(true, true, 4)) == 1
    assert kappa(decided([0, 1, 0, 1], [0, 0, 1, 1], 2)) == 0


def test_ordinal_metrics_weigh_disagreement_by_its_steps():
    true, chosen = [0, 1, 2, 2, 1, 0], [0, 2, 0, 2, 1, 1]
    one_hot = torch.nn.functional.one_hot
    p, y = one_hot(torch.tensor(chosen), 3).float(), one_hot(torch.tensor(true), 3).float()
    metrics = ORDINAL.metrics(ORDINAL.sums(p, y))
    assert metrics["steps"] == pytest.approx((0 + 1 + 2 + 0 + 0 + 1) / 6)
    by_chance = np.mean([abs(t - c) for t in true for c in chosen])
    assert metrics["kappa"] == pytest.approx(1 - metrics["steps"] / by_chance)
    plain = SINGLE_LABEL.metrics(SINGLE_LABEL.sums(p, y))
    assert "steps" not in plain and plain["kappa"] == pytest.approx((0.5 - 1 / 3) / (1 - 1 / 3))
    assert {k: v for k, v in metrics.items() if k not in ("steps", "kappa")} == {
        k: v for k, v in plain.items() if k != "kappa"
    }


def test_a_binary_task_is_a_multi_label_one_of_one_label():
    p, y = predicted(80, 1, single=False)
    assert BINARY.metrics(BINARY.sums(p, y)) == MULTI_LABEL.metrics(MULTI_LABEL.sums(p, y))
    assert BINARY.prediction_columns(["died"]) == ["died"] and BINARY.num_outputs(1) == 1


def test_auprc_of_two_exclusive_labels_is_that_of_the_event():
    p, y = predicted(200, 2, single=True)
    sums = SINGLE_LABEL.sums(p, y)
    absence, event = (average_precision(*pair) for pair in score_histograms(sums["task"]))
    assert SINGLE_LABEL.metrics(sums)["auprc"] == event
    assert event != pytest.approx(absence, abs=1e-3)


def predicted(windows: int, labels: int, single: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Generate informative probabilities in the middle of their bins, and labels."""
    logits = torch.randn(windows, labels)
    if single:
        y = torch.nn.functional.one_hot((logits + torch.randn(windows, labels)).argmax(1), labels).float()
        return logits.softmax(1), y
    y = (logits + torch.randn(windows, labels) > 0.5).float()
    return ((logits.sigmoid() * BINS).floor() + 0.5) / BINS, y


CLASSIFICATIONS = [kind for kind in TASK_KINDS.values() if kind.name in CLASSIFICATION]


@pytest.mark.parametrize("kind", CLASSIFICATIONS, ids=lambda kind: kind.name)
def test_task_sums_of_two_sites_add_to_those_of_their_pool(kind):
    p, y = predicted(50, 4, kind.name in EXCLUSIVE)
    pooled, first, second = kind.sums(p, y), kind.sums(p[:13], y[:13]), kind.sums(p[13:], y[13:])
    assert {name: array.shape for name, array in pooled.items()} == kind.sum_shapes(4)
    for name, array in pooled.items():
        np.testing.assert_array_equal(first[name] + second[name], array)
    counts = pooled["task"]
    assert counts.shape == (4, len(DECISION_COUNTS) + 2 * BINS)
    assert (counts[:, :4].sum(1) == 50).all() and kind.num_windows(pooled) == 50
    assert (counts[:, len(DECISION_COUNTS) :].sum(1) == 50).all()


def test_multi_label_metrics_by_hand():
    p, y = predicted(80, 3, single=False)
    metrics = MULTI_LABEL.metrics(MULTI_LABEL.sums(p, y))
    decided, true = p.numpy() >= 0.5, y.numpy() > 0.5
    areas = [brute_force(p[true[:, k], k].numpy(), p[~true[:, k], k].numpy()) for k in range(3)]
    precision = (decided & true).sum(0) / decided.sum(0)
    recall = (decided & true).sum(0) / true.sum(0)
    assert metrics["auroc"] == pytest.approx(np.mean(areas), abs=1e-9)
    assert metrics["f1"] == pytest.approx(np.mean(2 * precision * recall / (precision + recall)))
    assert metrics["accuracy"] == pytest.approx((decided == true).mean())
    assert 0.6 < metrics["auroc"] < 0.95


def test_single_label_metrics_by_hand():
    p, y = predicted(80, 3, single=True)
    metrics = SINGLE_LABEL.metrics(SINGLE_LABEL.sums(p, y))
    decided, true = p.argmax(1).numpy(), y.argmax(1).numpy()
    f1 = []
    for k in range(3):
        hits = ((decided == k) & (true == k)).sum()
        f1.append(2 * hits / ((decided == k).sum() + (true == k).sum()))
    areas = [brute_force(p[true == k, k].numpy(), p[true != k, k].numpy()) for k in range(3)]
    assert metrics["accuracy"] == pytest.approx((decided == true).mean())
    assert metrics["f1"] == pytest.approx(np.mean(f1))
    assert metrics["auroc"] == pytest.approx(np.mean(areas), abs=2 / BINS)


def test_a_model_that_cannot_distinguish_labels_is_not_always_right():
    p, y = torch.full((30, 3), 1 / 3), torch.eye(3).repeat(10, 1)
    metrics = SINGLE_LABEL.metrics(SINGLE_LABEL.sums(p, y))
    assert metrics["accuracy"] == pytest.approx(1 / 3)
    assert metrics["auroc"] == 0.5


def test_probabilities_of_zero_and_one_have_their_bins():
    p = torch.tensor([[0.0], [1.0], [0.4999], [0.5]])
    sums = MULTI_LABEL.sums(p, torch.tensor([[0.0], [1.0], [0.0], [1.0]]))
    assert sums["task"][0, :4].tolist() == [2, 0, 0, 2]
    positives, negatives = score_histograms(sums["task"])[0]
    assert positives[BINS - 1] == positives[BINS // 2] == 1
    assert negatives[0] == negatives[BINS // 2 - 1] == 1
    assert MULTI_LABEL.metrics(sums) == {"auroc": 1, "auprc": 1, "f1": 1, "accuracy": 1}


def test_a_label_without_positives_is_excluded():
    p, y = predicted(80, 3, single=False)
    with_it = torch.cat([y, torch.zeros(80, 1)], 1)
    wider = MULTI_LABEL.metrics(MULTI_LABEL.sums(torch.cat([p, p[:, :1]], 1), with_it))
    without = MULTI_LABEL.metrics(MULTI_LABEL.sums(p, y))
    assert wider["auroc"] == pytest.approx(without["auroc"])
    assert wider["f1"] == pytest.approx(without["f1"])


@pytest.mark.parametrize("kind", TASK_KINDS.values(), ids=TASK_KINDS)
def test_task_metrics_of_nothing_are_not_numbers(kind):
    sums = kind.sums(torch.zeros(0, kind.num_outputs(3)), torch.zeros(0, 3))
    assert all((array == 0).all() for array in sums.values())
    metrics = kind.metrics(sums)
    assert list(metrics) == [metric.name for metric in metrics_of_task(kind.name)]
    assert all(math.isnan(v) for v in metrics.values())
