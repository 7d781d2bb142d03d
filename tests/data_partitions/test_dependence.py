"""What losses depend on: no value (MCAR), values of another modality (MAR), the lost ones (MNAR)."""

import numpy as np
import pytest

from tests.helpers.masks import FULL, RATES, TWO, masks

CAUSES = ("mcar", "mar", "mnar")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_shares_are_met_by_every_modality_whatever_decides(mechanism, cause, rate):
    observed = FULL[:4] & (np.random.default_rng(0).random((4, 100, 10)) < 0.5)
    observed[3, :60] = False
    if rate == 0.9 and cause == "mar":
        rate = 0.74  # as much as there is when one of four is spared in turn
    hidden = masks(observed, 400, **{mechanism: rate, f"{mechanism}_mechanism": cause})
    share = hidden.sum((0, 2, 3)) / (400 * observed.sum((1, 2)))
    # Stretches are a share of time: the modality that is observed for a while has more or less of them.
    np.testing.assert_allclose(share[:3], rate, atol=0.04)
    np.testing.assert_allclose(share[3], rate, atol=0.04 if mechanism == "points" else 0.12)


def test_points_that_depend_on_values_meet_their_share_in_each_window():
    observed = np.random.default_rng(0).random((3, 400, 25)) < [[[0.2]], [[0.6]], [[1.0]]]
    skewed = np.random.default_rng(1).standard_normal((20, *observed.shape)) ** 3
    hidden = masks(observed, 20, skewed, points=0.3, points_mechanism="mnar")
    share = hidden.sum((2, 3)) / observed.sum((1, 2))
    # A binomial share of 2000 has a standard deviation of 0.010, and less when the chances differ.
    np.testing.assert_allclose(share, 0.3, atol=0.04)
    np.testing.assert_allclose(share.mean(0), 0.3, atol=0.008)


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_when_the_others_cannot_make_up_for_the_spared_one_they_lose_all(mechanism):
    hidden = masks(FULL[:2], 100, **{mechanism: 0.7, f"{mechanism}_mechanism": "mar"})
    assert set(hidden.mean((2, 3)).sum(1)) == {1.0} and set(hidden.mean((2, 3)).ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
@pytest.mark.parametrize("cause", ["mar", "mnar"])
def test_where_no_value_can_decide_chance_does(mechanism, cause):
    """One modality alone has no other; constant ones have no high values, whatever their size."""
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": cause}
    observed = FULL & (np.arange(100) < 47)[:, None]
    hidden = masks(observed, values=np.full((200, *FULL.shape), 0.1, np.float32), **missingness)
    assert hidden[:, :, 3:44].mean() == pytest.approx(0.3, abs=0.02)
    if cause == "mar":
        x = np.random.default_rng(0).standard_normal((200, 1, 100, 10))
        hidden = masks(FULL[:1], values=x, **missingness)
        assert hidden.mean() == pytest.approx(0.3, abs=0.01)
        assert abs(np.corrcoef(hidden.ravel(), x.ravel())[0, 1]) < 0.01


def dependence(mechanism, cause):
    """Correlation of losses with the value of another modality, and with the own value given that one.

    Both modalities are a common signal and one of their own, alike in time: what is left of one when
    half the other is taken away is independent of the other at all times.
    """
    windows, time = 1000, 50
    noise = np.random.default_rng(0).standard_normal((windows, 3, time))
    for t in range(1, time):
        noise[:, :, t] = 0.9 * noise[:, :, t - 1] + np.sqrt(1 - 0.81) * noise[:, :, t]
    values = (noise[:, :1] + noise[:, 1:])[..., None].astype(np.float32)
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": cause}
    hidden = masks(np.ones((2, time, 1), bool), windows, values, **missingness)
    every, lossy = np.arange(windows), np.ones(windows, int)
    if cause == "mar":
        spared = ~hidden.any((2, 3))
        assert (spared.sum(1) == 1).all() and 0.4 < spared[:, 0].mean() < 0.6, "one of them, drawn"
        lossy = spared.argmin(1)
    lost, own, other = hidden[every, lossy], values[every, lossy], values[every, 1 - lossy]
    return [np.corrcoef(lost.ravel(), x.ravel())[0, 1] for x in (other, own - other / 2)]


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_completely_at_random_at_random_and_not_at_random_are_told_apart(mechanism):
    assert np.abs(dependence(mechanism, "mcar")).max() < 0.03
    by_other, by_own = dependence(mechanism, "mar")
    assert by_other > 0.2 and abs(by_own) < 0.03
    by_other, by_own = dependence(mechanism, "mnar")
    assert by_own > 0.2 and by_own > by_other > 0.1, "the other tells as much as it shares"


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_a_modality_can_depend_on_one_of_another_rate(mechanism):
    """By its mean in a patch: of those samples that are observed, in patches that have any."""
    rng = np.random.default_rng(0)
    observed = TWO & ((rng.random(TWO.shape) < rng.uniform(0.02, 1, 30)[:, None]) | (np.arange(100) == 0))
    observed[0, :10] = False
    level = rng.standard_normal((600, 1, 30, 1))
    values = np.broadcast_to(level + 9, (600, *TWO.shape)).astype(np.float32)
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": "mar"}
    hidden = masks(observed, 600, values, RATES, gap_patches=2, **missingness)
    slow = hidden[:, 1].any((1, 2))  # these depend on the fast one, which is spared
    assert not hidden[slow, 0].any() and 0.4 < slow.mean() < 0.6
    lost = hidden[slow, 1, :, 0]
    assert np.corrcoef(lost[:, 10:].ravel(), level[slow, 0, 10:, 0].ravel())[0, 1] > 0.15
    middling = 0.65 if mechanism == "points" else 0.6
    assert lost[:, 1:9].mean() == pytest.approx(middling, abs=0.05), "neutral where it was not seen"
    lost, seen = hidden[~slow, 0, 10:], observed[0, 10:]
    assert np.corrcoef(lost[:, seen].ravel(), (level[~slow, 0, 10:] * seen)[:, seen].ravel())[0, 1] > 0.15


@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_values_decide_by_their_place_among_those_of_the_window(mechanism):
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": "mnar"}
    x = (np.random.default_rng(0).standard_normal((40, *FULL.shape)) * 64).round().astype(np.float32)
    observed = FULL & (np.random.default_rng(1).random(FULL.shape) < 0.7)
    hidden = masks(observed, 40, x, **missingness)
    for m in range(12):
        x[:, m] = x[:, m] * 2.0**m + 512 * m  # exact in 32 bits
    np.testing.assert_array_equal(hidden, masks(observed, 40, x, **missingness))
    z = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
    turned = masks(observed, 40, -x, **missingness)
    assert z[hidden].mean() > 0.02 and z[turned].mean() < -0.02, "high ones go"


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -1e30, 3.0])
@pytest.mark.parametrize("cause", ["mar", "mnar"])
@pytest.mark.parametrize("mechanism", ["points", "gaps"])
def test_values_that_are_not_observed_never_matter(mechanism, cause, rubbish):
    """Nor those of a modality that the site lacks."""
    rng = np.random.default_rng(0)
    observed = rng.random((5, 20, 3)) < 0.5
    x = rng.standard_normal((40, *observed.shape)).astype(np.float32)
    missingness = {mechanism: 0.3, f"{mechanism}_mechanism": cause, "gap_patches": 2, "modality_by_site": 0.4}
    left = observed & ~masks(observed, 1, modality_by_site=0.4)[0]
    assert left.any((1, 2)).sum() == 3
    hidden = masks(observed, 40, x, **missingness)
    np.testing.assert_array_equal(hidden, masks(observed, 40, np.where(left, x, rubbish), **missingness))
    assert len({h.tobytes() for h in hidden}) > 30
