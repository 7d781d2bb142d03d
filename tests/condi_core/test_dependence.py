"""Losses depend on no value (MCAR), on values of another modality (MAR) or on the lost values (MNAR)."""

import numpy as np
import pytest

from condi_core.missingness.dependence import DEPENDENCES
from tests.helpers.masks import FULL, RATES, TWO_RATES, make_masks


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dependence", DEPENDENCES)
@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_every_modality_loses_its_share_under_each_dependence(mechanism, dependence, rate):
    observed = FULL[:4] & (np.random.default_rng(0).random((4, 100, 10)) < 0.5)
    observed[3, :60] = False
    if rate == 0.9 and dependence == "mar":
        rate = 0.74  # the maximum when one of four modalities loses nothing
    hidden = make_masks(observed, 400, **{mechanism: rate, f"{mechanism}_mechanism": dependence})
    share = hidden.sum((0, 2, 3)) / (400 * observed.sum((1, 2)))
    # Stretches have a share of time, so a modality that is observed for a part of it loses more or less.
    np.testing.assert_allclose(share[:3], rate, atol=0.04)
    np.testing.assert_allclose(share[3], rate, atol=0.04 if mechanism == "points" else 0.12)


def test_points_that_depend_on_values_meet_their_share_in_each_window():
    observed = np.random.default_rng(0).random((3, 400, 25)) < [[[0.2]], [[0.6]], [[1.0]]]
    skewed = np.random.default_rng(1).standard_normal((20, *observed.shape)) ** 3
    hidden = make_masks(observed, 20, skewed, points=0.3, points_mechanism="mnar")
    share = hidden.sum((2, 3)) / observed.sum((1, 2))
    # A binomial share of 2000 samples has a standard deviation of 0.010, and less if probabilities differ.
    np.testing.assert_allclose(share, 0.3, atol=0.04)
    np.testing.assert_allclose(share.mean(0), 0.3, atol=0.008)


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_the_other_modalities_lose_everything_if_that_does_not_reach_the_share(mechanism):
    hidden = make_masks(FULL[:2], 100, **{mechanism: 0.7, f"{mechanism}_mechanism": "mar"})
    assert set(hidden.mean((2, 3)).sum(1)) == {1.0} and set(hidden.mean((2, 3)).ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
@pytest.mark.parametrize("dependence", ["mar", "mnar"])
def test_without_a_driver_losses_are_random(mechanism, dependence):
    """A single modality has no driver, and constant values have no differences."""
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": dependence}
    observed = FULL & (np.arange(100) < 47)[:, None]
    hidden = make_masks(observed, values=np.full((200, *FULL.shape), 0.1, np.float32), **missingness)
    assert hidden[:, :, 3:44].mean() == pytest.approx(0.3, abs=0.02)
    if dependence == "mar":
        x = np.random.default_rng(0).standard_normal((200, 1, 100, 10))
        hidden = make_masks(FULL[:1], values=x, **missingness)
        assert hidden.mean() == pytest.approx(0.3, abs=0.01)
        assert abs(np.corrcoef(hidden.ravel(), x.ravel())[0, 1]) < 0.01


def correlate_losses(mechanism, dependence):
    """Correlate losses with the values of the other modality, and with those of the same one given the other.

    Both modalities are the sum of a common and a separate signal with the same autocorrelation. Therefore the
    values of one minus half of the other are independent of the other at all times.
    """
    windows, time = 1000, 50
    noise = np.random.default_rng(0).standard_normal((windows, 3, time))
    for t in range(1, time):
        noise[:, :, t] = 0.9 * noise[:, :, t - 1] + np.sqrt(1 - 0.81) * noise[:, :, t]
    values = (noise[:, :1] + noise[:, 1:])[..., None].astype(np.float32)
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": dependence}
    hidden = make_masks(np.ones((2, time, 1), bool), windows, values, **missingness)
    rows, modality = np.arange(windows), np.ones(windows, int)
    if dependence == "mar":
        spared = ~hidden.any((2, 3))
        assert (spared.sum(1) == 1).all() and 0.4 < spared[:, 0].mean() < 0.6, "one of them is drawn"
        modality = spared.argmin(1)
    lost, same, other = hidden[rows, modality], values[rows, modality], values[rows, 1 - modality]
    return [np.corrcoef(lost.ravel(), x.ravel())[0, 1] for x in (other, same - other / 2)]


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_losses_correlate_with_values_as_the_dependence_says(mechanism):
    assert np.abs(correlate_losses(mechanism, "mcar")).max() < 0.03
    with_other, with_same = correlate_losses(mechanism, "mar")
    assert with_other > 0.2 and abs(with_same) < 0.03
    with_other, with_same = correlate_losses(mechanism, "mnar")
    assert with_same > 0.2 and with_same > with_other > 0.1, "the other one has the common signal"


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_a_modality_can_depend_on_one_of_another_rate(mechanism):
    """The driver counts by the mean of its observed samples in each patch that has any."""
    rng = np.random.default_rng(0)
    observed = TWO_RATES & (
        (rng.random(TWO_RATES.shape) < rng.uniform(0.02, 1, 30)[:, None]) | (np.arange(100) == 0)
    )
    observed[0, :10] = False
    level = rng.standard_normal((600, 1, 30, 1))
    values = np.broadcast_to(level + 9, (600, *TWO_RATES.shape)).astype(np.float32)
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": "mar"}
    hidden = make_masks(observed, 600, values, RATES, gap_patches=2, **missingness)
    # Either the slow modality depends on the fast one, which then loses nothing, or the reverse.
    slow = hidden[:, 1].any((1, 2))
    assert not hidden[slow, 0].any() and 0.4 < slow.mean() < 0.6
    lost = hidden[slow, 1, :, 0]
    assert np.corrcoef(lost[:, 10:].ravel(), level[slow, 0, 10:, 0].ravel())[0, 1] > 0.15
    share = 0.65 if mechanism == "points" else 0.6
    assert lost[:, 1:9].mean() == pytest.approx(share, abs=0.05), "the driver is not observed here"
    lost, measured = hidden[~slow, 0, 10:], observed[0, 10:]
    drivers = (level[~slow, 0, 10:] * measured)[:, measured]
    assert np.corrcoef(lost[:, measured].ravel(), drivers.ravel())[0, 1] > 0.15


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_values_count_relative_to_those_of_their_window(mechanism):
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": "mnar"}
    x = (np.random.default_rng(0).standard_normal((40, *FULL.shape)) * 64).round().astype(np.float32)
    observed = FULL & (np.random.default_rng(1).random(FULL.shape) < 0.7)
    hidden = make_masks(observed, 40, x, **missingness)
    for m in range(12):
        x[:, m] = x[:, m] * 2.0**m + 512 * m  # exact in 32 bits
    np.testing.assert_array_equal(hidden, make_masks(observed, 40, x, **missingness))
    z = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
    inverted = make_masks(observed, 40, -x, **missingness)
    assert z[hidden].mean() > 0.02 and z[inverted].mean() < -0.02, "high values are lost"


@pytest.mark.parametrize("placeholder", [np.nan, np.inf, -1e30, 3.0])
@pytest.mark.parametrize("dependence", ["mar", "mnar"])
@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_values_that_are_not_observed_never_matter(mechanism, dependence, placeholder):
    """Values of a modality that the site loses do not matter either."""
    rng = np.random.default_rng(0)
    observed = rng.random((5, 20, 3)) < 0.5
    x = rng.standard_normal((40, *observed.shape)).astype(np.float32)
    missingness = {
        mechanism: 0.3,
        f"{mechanism}_mechanism": dependence,
        "gap_patches": 2,
        "modality_by_site": 0.4,
    }
    remaining = observed & ~make_masks(observed, 1, modality_by_site=0.4)[0]
    assert remaining.any((1, 2)).sum() == 3
    hidden = make_masks(observed, 40, x, **missingness)
    np.testing.assert_array_equal(
        hidden, make_masks(observed, 40, np.where(remaining, x, placeholder), **missingness)
    )
    assert len({h.tobytes() for h in hidden}) > 30
