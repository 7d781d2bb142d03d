"""Replicates of sums over patients: their spread is that of a bootstrap of the pooled patients."""

import numpy as np
import pytest
import torch

from condi_core.evaluation.imputation import imputation_sums_by_window
from condi_core.evaluation.replicates import NUM_REPLICATES, add_up_deviations, read_replicates
from condi_core.task.kind import BINARY, REGRESSION, SINGLE_LABEL

PATIENTS = (40, 25)  # of two sites


def draw_patients(rng, patients):
    """Draw windows of patients who differ: predictions, labels, and the patient of each window."""
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    severity = rng.normal(size=patients)[patient]
    ill = rng.random(len(patient)) < 1 / (1 + np.exp(0.8 - severity))
    score = 1 / (1 + np.exp(1 - 1.2 * ill - 0.6 * severity - rng.normal(size=len(patient))))
    return score, ill, patient


def tensors(kind, score, ill):
    if kind is BINARY:
        return torch.tensor(score[:, None]), torch.tensor(ill[:, None] * 1.0)
    if kind is SINGLE_LABEL:
        return torch.tensor(np.stack([1 - score, score], 1)), torch.tensor(np.stack([~ill, ill], 1) * 1.0)
    return torch.tensor(score[:, None] + np.array([0.0, -0.4, 0.4])), torch.tensor(ill[:, None] * 1.0)


def replicate_site(kind, rng, score, ill, patient):
    windows = tensors(kind, score, ill)
    sums = kind.sums(*windows)
    deviations = rng.standard_normal((patient.max() + 1, NUM_REPLICATES))[patient]
    return sums, kind.replicate(sums, add_up_deviations(deviations, kind.reduced(*windows, sums)))


def replicate(kind, rng, sites):
    """Return the metrics of all sites, and those of each replicate."""
    parts = [replicate_site(kind, rng, *site) for site in sites]
    sums, replicates = ({name: sum(part[i][name] for part in parts) for name in parts[0][1]} for i in (0, 1))
    return kind.metrics(sums), read_replicates(kind.metrics, sums, replicates)


def resample(rng, score, ill, patient):
    """Draw patients of a site with replacement."""
    chosen = rng.integers(0, patient.max() + 1, patient.max() + 1)
    rows = np.concatenate([np.flatnonzero(patient == p) for p in chosen])
    return score[rows], ill[rows]


KINDS = pytest.mark.parametrize("kind", [BINARY, SINGLE_LABEL, REGRESSION], ids=lambda kind: kind.name)


def sum_of_squared_influences(kind, sites):
    """Return the root of the summed squares of what a little more weight of each patient changes."""
    by_patient = [
        kind.sums(*tensors(kind, s[p == i], y[p == i])) for s, y, p in sites for i in range(max(p) + 1)
    ]
    sums = {name: sum(added[name] for added in by_patient) for name in by_patient[0]}
    value, squares = kind.metrics(sums), {}
    for added in by_patient:
        near = kind.metrics({name: sums[name] + 0.01 * added[name] for name in sums})
        for name, metric in near.items():
            squares[name] = squares.get(name, 0.0) + ((metric - value[name]) / 0.01) ** 2
    return {name: total**0.5 for name, total in squares.items()}


@KINDS
def test_replicates_spread_by_the_influence_of_each_patient(kind):
    rng = np.random.default_rng(0)
    sites = [draw_patients(rng, patients) for patients in PATIENTS]
    values, replicates = replicate(kind, rng, sites)
    for name, expected in sum_of_squared_influences(kind, sites).items():
        # The spread of 200 replicates has a standard error of 5 %; the AUPRC is a step function of scores.
        assert replicates[name].std() == pytest.approx(expected, rel=0.2), name
        assert replicates[name].mean() == pytest.approx(values[name], abs=0.3 * expected), name


@pytest.mark.slow
@KINDS
def test_replicates_spread_as_a_bootstrap_of_the_pooled_patients(kind):
    rng = np.random.default_rng(0)
    sites = [draw_patients(rng, patients) for patients in PATIENTS]
    values, replicates = replicate(kind, rng, sites)
    bootstrap = {name: [] for name in values}
    for _ in range(500):
        drawn = [kind.sums(*tensors(kind, *resample(rng, *site))) for site in sites]
        metrics = kind.metrics({name: sum(sums[name] for sums in drawn) for name in drawn[0]})
        for name, value in metrics.items():
            bootstrap[name].append(value)
    for name in values:
        assert replicates[name].std() == pytest.approx(np.std(bootstrap[name]), rel=0.2), name


def test_the_same_patients_make_small_intervals_of_differences():
    """Of two methods with nearly the same scores, the difference varies far less than each."""
    rng = np.random.default_rng(1)
    score, ill, patient = draw_patients(rng, 60)
    metrics = []
    for other in (score, np.clip(score + 0.02 * rng.normal(size=len(score)), 0, 1)):
        sums, replicates = replicate_site(BINARY, np.random.default_rng(5), other, ill, patient)
        metrics.append(read_replicates(BINARY.metrics, sums, replicates)["auroc"])
    assert np.std(metrics[0] - metrics[1]) < 0.25 * np.std(metrics[0])


def test_a_site_without_test_windows_replicates_zeros():
    windows = tensors(BINARY, np.zeros(0), np.zeros(0, bool))
    sums = BINARY.sums(*windows)
    reduced = BINARY.reduced(*windows, sums)
    added = add_up_deviations(np.zeros((0, NUM_REPLICATES)), reduced)
    assert not BINARY.replicate(sums, added)["task"].any()
    metrics = read_replicates(BINARY.metrics, sums, BINARY.replicate(sums, added))
    assert np.isnan(metrics["auroc"]).all()


def test_errors_of_imputation_are_replicated_exactly():
    rng = np.random.default_rng(2)
    truth, point = torch.randn(9, 2, 3, 4), torch.zeros(9, 2, 3, 4)
    sums = imputation_sums_by_window(truth, point, torch.ones(9, 2, 3, 4, dtype=torch.bool)).sum(1)
    numbers = rng.standard_normal((9, NUM_REPLICATES))
    added = add_up_deviations(numbers, sums)
    read = read_replicates(
        lambda s: {"mse": s["errors"][2] / s["errors"][0]},
        {"errors": sums.sum(0)},
        {"errors": sums.sum(0) + added},
    )["mse"]
    by_window = sums[:, 2] / sums[:, 0]
    expected = by_window.mean() + numbers.T @ (by_window - by_window.mean()) / 9
    np.testing.assert_allclose(read, expected, atol=0.08 * by_window.std())


@pytest.mark.slow
def test_intervals_contain_the_true_value_as_often_as_they_say():
    rng = np.random.default_rng(3)
    truth = BINARY.metrics(BINARY.sums(*tensors(BINARY, *draw_patients(rng, 100_000)[:2])))
    hits, runs = dict.fromkeys(truth, 0), 300
    for _ in range(runs):
        _, replicates = replicate(BINARY, rng, [draw_patients(rng, patients) for patients in (60, 40, 30)])
        for name, of_metric in replicates.items():
            low, high = np.quantile(of_metric, (0.025, 0.975))
            hits[name] += low <= truth[name] <= high
    for name, count in hits.items():  # the standard error of a share of 300 is 1.3 %
        assert 0.90 <= count / runs <= 0.985, (name, count / runs)


@pytest.mark.slow
def test_intervals_of_few_cases_are_too_narrow():
    """One case does not tell how cases differ: the docs give these shares."""
    rng, truth, shares = np.random.default_rng(4), 0.8019, []  # the AUROC of normal scores 1.2 apart
    for cases in (1, 2, 5, 10):
        ill, patient, hits = np.arange(60) < cases, np.arange(60), 0
        for _ in range(200):
            score = 1 / (1 + np.exp(1 - 1.2 * ill - rng.normal(size=60)))
            _, replicates = replicate(BINARY, rng, [(score, ill, patient)])
            low, high = np.quantile(replicates["auroc"], (0.025, 0.975))
            hits += low <= truth <= high
        shares.append(hits / 200)
    assert shares == pytest.approx([0.3, 0.6, 0.8, 0.9], abs=0.08)
