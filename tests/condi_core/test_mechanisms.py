"""The definition of each mechanism: the share that it hides, and the shape of its losses in time."""

import numpy as np
import pytest

from condi_core.missingness import Missingness, missingness_mask
from condi_core.missingness.dependence import DEPENDENCES
from tests.helpers.masks import FULL, RATES, TWO_RATES, find_runs, make_masks

# Shares


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("mechanism", ["points", "gaps", "bursts", "blackout", "modality_by_window"])
def test_shares_are_met(mechanism, rate):
    # At 0.9 one of twelve modalities or one stretch always remains; the tolerance covers this as well.
    assert make_masks(**{mechanism: rate}).mean() == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize(
    "missingness",
    [
        {name: 0.3, f"{name}_mechanism": dependence}
        for name in ("points", "gaps")
        for dependence in DEPENDENCES
    ]
    + [{"bursts": 0.3}, {"blackout": 0.3}],
    ids=str,
)
def test_shares_are_met_at_very_different_rates(missingness):
    hidden = make_masks(TWO_RATES, 1000, rates=RATES, gap_patches=3, **missingness)
    share = hidden.sum((0, 2, 3)) / (1000 * TWO_RATES.sum((1, 2)))
    np.testing.assert_allclose(share, 0.3, atol=0.03)
    assert not hidden[:, 1, :, 1:].any(), "padding"


@pytest.mark.parametrize("patches", [2, 5, 20])
def test_the_share_of_gaps_does_not_depend_on_their_length(patches):
    assert make_masks(gaps=0.33, gap_patches=patches).mean() == pytest.approx(0.33, abs=0.02)
    assert make_masks(blackout=0.33, gap_patches=patches).mean() == pytest.approx(0.33, abs=0.02)


# Stretches


@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_gaps_are_complete_stretches_that_start_at_any_sample(dependence):
    starts = set()
    for hidden in make_masks(records=50, gaps=0.3, gap_patches=5, gaps_mechanism=dependence):
        for stream in hidden.reshape(12, 1000):
            run_starts, lengths = find_runs(stream)
            assert (lengths % 50 == 0).all(), "gaps of 50 samples may touch, but not overlap"
            assert lengths.sum() in ({300, 350} if dependence == "mar" and lengths.sum() else {300, 0})
            starts |= set(run_starts % 10)
    assert starts == set(range(10)), "gaps start not only at patch borders"


@pytest.mark.parametrize("mechanism", ["gaps", "blackout"])
def test_every_sample_in_the_middle_of_a_window_is_equally_likely_to_be_hidden(mechanism):
    hidden = make_masks(records=400, **{mechanism: 0.3})
    middle = hidden.mean((0, 1)).ravel()[100:900]
    assert middle.std() < (0.02 if mechanism == "gaps" else 0.04)
    assert middle.mean() == pytest.approx(0.3, abs=0.02)


def test_slow_modalities_have_gaps_of_their_samples():
    hidden = make_masks(TWO_RATES, 300, rates=RATES, gaps=0.4, gap_patches=3)
    assert (hidden[:, 0].sum((1, 2)) == 1200).all() and not hidden[:, 1, :, 1:].any()
    assert (hidden[:, 1, :, 0].sum(1) == 12).all(), "four gaps of three patches"


@pytest.mark.parametrize("rates", [(10, 10), (100, 1), (6, 4), (3, 7)])
def test_a_blackout_hides_the_same_times_at_every_rate(rates):
    observed = np.arange(max(rates)) < np.array(rates)[:, None, None] + np.zeros((2, 30, 1))
    starts = set()
    for hidden in make_masks(observed, 50, rates=rates, blackout=0.4, gap_patches=3):
        fast, slow = (hidden[m, :, : rates[m]].ravel() for m in np.argsort(rates)[::-1])
        assert fast.sum() == 12 * max(rates) and slow.sum() == 12 * min(rates)
        run_starts, lengths = find_runs(fast)
        instants = np.arange(30 * min(rates)) / min(rates)
        expected = np.zeros(len(instants), bool)
        for start, length in zip(run_starts / max(rates), lengths / max(rates), strict=True):
            expected |= (instants >= start - 1e-9) & (instants < start + length - 1e-9)
        np.testing.assert_array_equal(slow, expected)
        starts |= set(run_starts % max(rates))
    assert len(starts) > min(max(rates), 40) - 1


# Bursts


def test_bursts_have_geometric_lengths_with_the_requested_mean():
    rates, observed = (10, 1), np.ones((2, 60000, 10), bool)
    observed[1, :, 1:] = False
    (hidden,) = make_masks(observed, 1, rates=rates, bursts=0.3, burst_patches=2.5)
    for m, rate in enumerate(rates):
        _, burst_lengths = find_runs(hidden[m, :, :rate].ravel())
        _, observed_lengths = find_runs(~hidden[m, :, :rate].ravel())
        mean = 2.5 * rate
        assert burst_lengths.mean() == pytest.approx(mean, rel=0.04)
        assert observed_lengths.mean() == pytest.approx(mean * 0.7 / 0.3, rel=0.04)
        for k in (1, 2, 5, 20):
            assert (burst_lengths > k).mean() == pytest.approx((1 - 1 / mean) ** k, abs=0.02)


def test_bursts_start_in_their_stationary_distribution():
    hidden = make_masks(np.ones((1, 20, 1), bool), 4000, bursts=0.3, burst_patches=8.0)[:, 0, :, 0]
    np.testing.assert_allclose(hidden.mean(0), 0.3, atol=0.035)


def test_bursts_are_no_shorter_than_with_independent_samples():
    (hidden,) = make_masks(np.ones((1, 40000, 1), bool), 1, bursts=0.6, burst_patches=0.1)
    _, lengths = find_runs(hidden.ravel())
    assert hidden.mean() == pytest.approx(0.6, abs=0.01) and lengths.mean() == pytest.approx(2.5, rel=0.03)


def test_bursts_of_modalities_are_independent():
    hidden = make_masks(FULL[:2], 300, bursts=0.3).reshape(300, 2, -1)
    assert abs(np.corrcoef(hidden[:, 0].ravel(), hidden[:, 1].ravel())[0, 1]) < 0.02


# Entire modalities


def test_a_window_loses_entire_modalities():
    hidden = make_masks(records=300, modality_by_window=0.4)
    missing = hidden.all(axis=(2, 3))
    np.testing.assert_array_equal(missing, hidden.any(axis=(2, 3)))
    assert set(missing.sum(axis=1)) == {4, 5}, "0.4 of 12 is 4.8"
    assert missing.mean() == pytest.approx(0.4, abs=0.01)
    np.testing.assert_allclose(missing.mean(axis=0), 0.4, atol=0.12)


def test_only_observed_modalities_count_and_one_remains():
    observed = FULL.copy()
    observed[2:] = False
    assert (make_masks(observed, 20, modality_by_window=1.0).any(axis=(2, 3)).sum(1) == 1).all()
    assert not make_masks(FULL[:1], 5, modality_by_window=1.0).any()


def lost_modalities(site, record="a", observed=FULL, seed=0, **changes) -> set[int]:
    """Return the modalities that a site loses in a record."""
    missingness = Missingness(**({"modality_by_site": 0.5} | changes))
    hidden = missingness_mask(None, observed, missingness, seed=seed, record_id=record, site=site)
    assert (hidden.all((1, 2)) == hidden.any((1, 2))).all()
    return set(np.flatnonzero(hidden.any((1, 2))))


def test_a_site_is_without_the_same_modalities_in_every_window():
    assert len({frozenset(lost_modalities("x", str(i))) for i in range(20)}) == 1
    sites = {frozenset(lost_modalities(f"hospital-{i}")) for i in range(20)}
    assert len(sites) > 15 and {len(s) for s in sites} == {6}
    assert lost_modalities("x", seed=0) != lost_modalities("x", seed=1)
    counts = [len(lost_modalities(f"hospital-{i}", modality_by_site=0.3)) for i in range(300)]
    assert set(counts) == {3, 4} and np.mean(counts) == pytest.approx(3.6, abs=0.1)
    assert lost_modalities("x") == {1, 2, 4, 6, 7, 11}, "the same in any process"


def test_a_site_retains_one_of_its_modalities():
    present = np.arange(12) < 3
    missingness, retained = Missingness(modality_by_site=1.0), set()
    for i in range(30):
        hidden = missingness_mask(
            None, FULL, missingness, seed=0, record_id="a", site=str(i), present=present
        )
        (remaining,) = np.flatnonzero(~hidden[:3].any((1, 2)))
        retained.add(remaining)
        assert not hidden[3:].any(), "the site cannot lose modalities that it does not have"
    assert retained == {0, 1, 2}


def test_a_window_loses_some_of_the_modalities_of_its_site():
    for share, count in ((0.5, 3), (1.0, 5)):
        hidden = make_masks(records=30, modality_by_site=0.5, modality_by_window=share)
        assert (hidden.all((2, 3)).sum(1) == 6 + count).all() and hidden.mean() == (6 + count) / 12


def test_modalities_that_a_site_loses_count_as_never_observed():
    x = np.random.default_rng(0).standard_normal((3, 50, 2)).astype(np.float32)
    observed = np.ones(x.shape, bool)
    observed[2] = False

    def hidden(observed, record, **missingness):
        window = {"seed": 0, "record_id": record, "site": "s", "present": [True, True, False]}
        return missingness_mask(x, observed, Missingness(**missingness), **window)

    (lost,) = np.flatnonzero(hidden(observed, "a", modality_by_site=0.5).any((1, 2)))
    rest = observed.copy()
    rest[lost] = False
    points = {"points": 0.4, "points_mechanism": "mar"}
    for record in map(str, range(20)):
        expected = hidden(rest, record, **points) | (observed & ~rest)
        np.testing.assert_array_equal(hidden(observed, record, modality_by_site=0.5, **points), expected)
        all_points = hidden(observed, record, modality_by_site=0.5, points=1.0)
        assert (rest & ~all_points).any() and all_points[lost].all(), (
            "a stretch of another modality is revealed"
        )
    only = observed & ~rest
    np.testing.assert_array_equal(hidden(only, "a", modality_by_site=0.5), only)


# Subsampling


def test_subsampling_retains_a_mean_number_of_samples_per_patch_at_random_times():
    rates = (20, 4, 2, 1)
    observed = np.arange(20) < np.array(rates)[:, None, None] + np.zeros((4, 50, 1))
    retained = observed & ~make_masks(observed, 200, rates=rates, subsample_to=1.5)
    np.testing.assert_allclose(retained.sum((0, 2, 3)) / (200 * 50), [1.5, 1.5, 1.5, 1.0], atol=0.04)
    for m, rate in enumerate(rates):
        share = retained[:, m].mean(0)[:, :rate]
        assert np.abs(share - min(1, 1.5 / rate)).max() < 0.16
        np.testing.assert_allclose(share.mean(0), min(1, 1.5 / rate), atol=0.02)
    counts = retained[:, 0].sum(2)
    assert counts.var() == pytest.approx(20 * 0.075 * 0.925, rel=0.05), "independent samples"


def test_subsampling_counts_positions_of_the_grid():
    observed = FULL & (np.random.default_rng(0).random(FULL.shape) < 0.5)
    retained = observed & ~make_masks(observed, 100, subsample_to=4)
    assert retained.sum() / (100 * 12 * 100) == pytest.approx(4 * observed.mean(), abs=0.02)
