"""Standardisation and relation from noisy means of patients' contributions."""

import numpy as np
import pytest
import torch

from condi_core.imputer.cross_spectrum import CrossSpectrum, mean_over_circle
from condi_core.privacy import relation, standardising
from condi_core.privacy.gradients import sum_clipped
from condi_core.privacy.standardising import Interval

RANGES = Interval(torch.tensor([0.0, 50.0]).double(), torch.tensor([10.0, 50.0]).double())


def values_of(count=400, presence=1.0):
    """Draw windows of two modalities, of means 3 and 70 and deviations 1 and 4."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 2, 4, 5, generator=generator)
    values = noise * torch.tensor([1.0, 4.0])[:, None, None] + torch.tensor([3.0, 70.0])[:, None, None]
    observed = torch.rand(count, 2, 4, 5, generator=generator) < 0.8
    observed[int(presence * count) :, 1] = False
    return values, observed


def sums_with_noise(bin_noise, presence=1.0):
    values, observed = values_of(presence=presence)
    histograms = standardising.histogram_contributions(values, observed, RANGES).mean(0)
    location = standardising.locate_values(histograms, bin_noise, RANGES)
    moments = standardising.moment_contributions(values, observed, location.interval).mean(0)
    sums = standardising.sums_from_moments(moments, location, torch.tensor([10.0, 10.0]).double())
    mean, squares = sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]
    return location, mean.tolist(), (squares - mean**2).sqrt().tolist()


@pytest.mark.parametrize("presence", [1.0, 0.25])
def test_mean_and_deviation_are_those_of_the_values(presence):
    location, mean, deviation = sums_with_noise(1e-4, presence)
    assert location.is_located.all() and location.presence.tolist() == pytest.approx([1, presence], abs=0.01)
    assert mean == pytest.approx([3, 70], rel=0.03) and deviation == pytest.approx([1, 4], rel=0.1)


def test_a_modality_that_noise_hides_gets_the_mean_and_deviation_of_its_range():
    location, mean, deviation = sums_with_noise(0.03, presence=0.25)
    assert location.is_located.tolist() == [True, False]
    assert mean[1] == pytest.approx(50) and deviation[1] == pytest.approx(50 / 3)
    assert mean[0] == pytest.approx(3, abs=0.3)


def test_a_histogram_of_a_patient_has_at_most_the_norm_of_its_modalities():
    values, observed = values_of(count=8)
    histograms = standardising.histogram_contributions(values * 1e6, observed, RANGES)
    assert histograms.norm(dim=1).max() <= 2**0.5 + 1e-9, (
        "values beyond the range are in its first or last bin"
    )
    assert torch.isfinite(standardising.moment_contributions(values * np.inf, observed, RANGES)).all()


def related_windows(share):
    """Draw waves of three modalities, of which the second is the negative of the first."""
    generator = torch.Generator().manual_seed(1)
    t, phase = torch.arange(96.0), 6.3 * torch.rand(300, 1, generator=generator)
    wave = 2**0.5 * torch.sin(0.6 * t + phase)
    x = torch.stack([wave, -wave, torch.randn(300, 96, generator=generator)], 1)
    return x, torch.rand(x.shape, generator=generator) < share


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_relation_has_the_covariance_and_spectrum_of_the_windows(share):
    cross_spectrum, (x, observed) = CrossSpectrum((0, 1, 2), 96), related_windows(share)
    mean = relation.compute_contributions(cross_spectrum, x, observed).mean(0)
    released = relation.release_relation(cross_spectrum, mean, 1e-6, torch.ones(3, dtype=torch.bool))
    covariance = mean_over_circle(released.spectrum[..., 0], cross_spectrum.circle)
    expected = torch.tensor([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]])
    assert covariance.numpy() == pytest.approx(expected.numpy(), abs=0.06)
    power = released.spectrum[0, 0, :, 0]
    assert int(power.argmax()) == pytest.approx(0.6 / (2 * np.pi) * 96, abs=3), "the frequency of the wave"
    absent = relation.release_relation(cross_spectrum, mean, 1e-6, torch.tensor([True, True, False]))
    assert absent.shares[2].tolist() == [0, 0, 0]


def test_contributions_have_the_length_that_clipping_assumes():
    x, observed = related_windows(1.0)
    parts = relation.compute_contributions(CrossSpectrum((0, 1, 2), 96), x, observed)
    moments, powers = relation.split_contribution(parts)
    assert moments.shape[1] == relation.num_moments(3) and powers.shape[1] == relation.NUM_BANDS
    matrices = torch.einsum("bit,bjt->bij", x.double(), x.double()) / 96
    expected = (matrices.flatten(1).norm(dim=1) ** 2 + (relation.SHARE_WEIGHT * 3) ** 2).sqrt()
    assert moments.norm(dim=1).numpy() == pytest.approx(expected.numpy(), rel=1e-6)


def test_eigenvalues_below_the_edge_of_the_noise_are_raised_to_it():
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    noisy = (vectors * [-0.2, 0.1, 2.0]) @ vectors.T
    spectrum = np.stack([noisy, np.zeros((3, 3))], -1)[:, :, None, :]
    floored = relation.floor_at_noise(spectrum)[:, :, 0, 0]
    assert np.linalg.eigvalsh(floored) == pytest.approx([0.2, 0.2, 2.0])
    assert relation.floor_at_noise(relation.floor_at_noise(spectrum))[:, :, 0, 0] == pytest.approx(floored)
    definite = np.stack([noisy @ noisy, np.zeros((3, 3))], -1)[:, :, None, :]
    assert np.array_equal(relation.floor_at_noise(definite), definite)


def test_noise_of_a_few_hundred_patients_hides_no_pair_of_modalities():
    modalities, multiplier, patients = 12, 2.2, 281  # as at epsilon 3
    cross_spectrum = CrossSpectrum(range(modalities), 96)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(patients, 1, 96, generator=generator) + 0.5 * torch.randn(
        patients, modalities, 96, generator=generator
    )
    parts = relation.split_contribution(
        relation.compute_contributions(cross_spectrum, x, torch.ones(x.shape, dtype=torch.bool))
    )
    norms = relation.clipping_norms(modalities, 1)
    sums = [sum_clipped({"": part}, norm)[""] for part, norm in zip(parts, norms, strict=True)]
    deviation = multiplier * float(np.linalg.norm(norms)) / patients
    for _ in range(20):
        noise = torch.randn(len(torch.cat(sums)), dtype=torch.float64, generator=generator)
        mean = torch.cat(sums) / patients + deviation * noise
        released = relation.release_relation(
            cross_spectrum, mean, deviation, torch.ones(modalities, dtype=torch.bool)
        )
        assert (released.shares > 0).all()
