"""Robust aggregation rules, compared with closed forms and under attack."""

import numpy as np
import pytest

from condi_core.averaging import SiteUpdate, average
from condi_core.methods.fedmsplit import correlated_average
from condi_core.methods.fednova import normalised_average
from condi_core.ownership import SHARED, Owner
from condi_core.robust_averaging import NORM_FACTOR, RULES, limit_claims, robust_aggregator

OWNERS = {"shared": SHARED, "rows": Owner("modality"), "pairs": Owner("pair")}
SHAPES = {"shared": (5,), "rows": (3, 4), "pairs": (3, 3, 2)}
BASE = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
ROBUST_RULES = [rule for rule in RULES if rule != "mean"]


def update_of(site, arrays, windows=10.0, present=(1, 1, 1)):
    p = np.array(present, float)
    return SiteUpdate(arrays, windows * np.outer(p, p), windows, 5, site)


def honest_updates(number, present=(1, 1, 1), seed=0):
    rng = np.random.default_rng(seed)
    return [
        update_of(
            f"site-{i}",
            {name: (1 + 0.1 * rng.standard_normal(shape)).astype("f4") for name, shape in SHAPES.items()},
            present=present,
        )
        for i in range(number)
    ]


def scaled(update, factor):
    return update._replace(arrays={name: (factor * a).astype("f4") for name, a in update.arrays.items()})


def largest_difference(a, b):
    return max(np.abs(a[name] - b[name]).max() for name in SHAPES)


@pytest.mark.parametrize("rule", ROBUST_RULES)
@pytest.mark.parametrize("number", [4, 5, 9])
@pytest.mark.parametrize("factor", [-20.0, 1000.0, 1e6])
def test_one_of_several_sites_cannot_move_the_average_far(rule, number, factor):
    updates = honest_updates(number)
    attacked = [*updates[:-1], scaled(updates[-1], factor)]
    result = robust_aggregator(rule, average)(BASE, OWNERS, attacked)
    honest = average(BASE, OWNERS, updates[:-1])
    assert largest_difference(result, honest) < (1.0 if rule == "norm-bound" else 0.3)
    assert largest_difference(average(BASE, OWNERS, attacked), honest) > 1.5, "the mean is moved"


def test_median_and_trimmed_mean_are_those_of_numpy():
    updates = honest_updates(5)
    stacked = {name: np.stack([u.arrays[name] for u in updates]) for name in SHAPES}
    median = robust_aggregator("median", average)(BASE, OWNERS, updates)
    trimmed = robust_aggregator("trimmed-mean", average)(BASE, OWNERS, updates)
    for name, values in stacked.items():
        np.testing.assert_allclose(median[name], np.median(values, 0), rtol=1e-6)
        np.testing.assert_allclose(trimmed[name], np.sort(values, 0)[1:-1].mean(0), rtol=1e-6)


def test_only_owners_of_a_modality_count_for_its_median():
    updates = honest_updates(3) + honest_updates(2, present=(1, 1, 0), seed=1)
    updates[-1] = scaled(updates[-1], 100.0)
    result = robust_aggregator("median", average)(BASE, OWNERS, updates)
    np.testing.assert_allclose(
        result["rows"][2], np.median([u.arrays["rows"][2] for u in updates[:3]], 0), rtol=1e-6
    )
    np.testing.assert_allclose(
        result["rows"][0], np.median([u.arrays["rows"][0] for u in updates], 0), rtol=1e-6
    )


@pytest.mark.parametrize("rule", ROBUST_RULES)
def test_a_piece_with_fewer_than_three_owners_is_averaged_within_the_norm_bound(rule):
    updates = honest_updates(3, present=(1, 1, 0)) + honest_updates(1, seed=2)
    updates[-1] = scaled(updates[-1], 1000.0)
    result = robust_aggregator(rule, average)(BASE, OWNERS, updates)
    norm = np.sqrt(sum(np.square(updates[0].arrays[name]).sum() for name in SHAPES))
    assert 0 < np.abs(result["rows"][2]).max() <= NORM_FACTOR * norm


@pytest.mark.parametrize("rule", RULES)
def test_equal_updates_are_their_own_average_under_every_rule(rule):
    updates = [u._replace(arrays=honest_updates(1)[0].arrays) for u in honest_updates(6)]
    result = robust_aggregator(rule, average)(BASE, OWNERS, updates)
    for name in SHAPES:
        np.testing.assert_array_equal(result[name], updates[0].arrays[name])


def test_the_norm_bound_leaves_updates_of_usual_length_as_they_are():
    updates = honest_updates(4)
    result = robust_aggregator("norm-bound", average)(BASE, OWNERS, updates)
    for name, expected in average(BASE, OWNERS, updates).items():
        np.testing.assert_array_equal(result[name], expected)


def test_a_long_estimate_is_shortened_without_mixing_it_with_the_state():
    base = {"pairs": np.eye(3, dtype=np.float32)[..., None] * np.ones(2, np.float32)}
    updates = [u._replace(arrays={"pairs": u.arrays["pairs"]}) for u in honest_updates(1) * 4]
    updates[-1] = scaled(updates[-1], 5.0)
    result = robust_aggregator("norm-bound", average, reestimates=True)(base, OWNERS, updates)
    np.testing.assert_allclose(result["pairs"], updates[0].arrays["pairs"] * (3 + NORM_FACTOR) / 4, rtol=1e-5)


def test_of_two_sites_the_longer_update_is_bounded_by_the_shorter():
    updates = honest_updates(2)
    result = robust_aggregator("norm-bound", average)(BASE, OWNERS, [updates[0], scaled(updates[1], 1e6)])
    assert np.abs(result["shared"]).max() < (1.2 * NORM_FACTOR + 1.2) / 2 * 1.5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("idle", "number"), [(1, 2), (2, 4), (1, 3)])
def test_sites_without_a_change_do_not_stop_the_training_of_others(rule, idle, number):
    updates = honest_updates(number)
    zero = [update._replace(arrays=BASE) for update in updates[:idle]]
    result = robust_aggregator(rule, average)(BASE, OWNERS, [*zero, *updates[idle:]])
    assert np.abs(result["shared"]).min() > 0.3


def test_the_norm_bound_leaves_a_site_with_more_modalities_than_others_as_it_is():
    updates = [*honest_updates(3, present=(1, 0, 0)), *honest_updates(1, seed=1)]
    updates = [u._replace(arrays={"pairs": u.arrays["pairs"]}) for u in updates]
    result = robust_aggregator("norm-bound", average)(BASE, OWNERS, updates)
    np.testing.assert_array_equal(result["pairs"], average(BASE, OWNERS, updates)["pairs"])


def test_krum_excludes_no_majority_of_the_owners_of_a_modality():
    rare = [
        update._replace(arrays=update.arrays | {"shared": update.arrays["shared"] + 3 * (1 + i)})
        for i, update in enumerate(honest_updates(3, seed=1))
    ]
    updates = [*honest_updates(9, present=(1, 1, 0)), *rare]
    result = robust_aggregator("krum", average)(BASE, OWNERS, updates)
    assert np.abs(result["rows"][2]).min() > 0.3, "the modality of the three excluded sites is trained"
    assert np.abs(result["shared"] - 1).max() < 0.3


def test_krum_excludes_no_site_that_shares_nothing_with_others():
    modalities, owners = (2, 2, 0, 1), {"rows": OWNERS["rows"]}
    updates = [
        update._replace(arrays={"rows": honest_updates(1)[0].arrays["rows"]}, counts=np.diag(np.eye(3)[m]))
        for update, m in zip(honest_updates(4), modalities, strict=True)
    ]
    assert all(update.windows for update in RULES["krum"](BASE, owners, updates)[2:])


def test_windows_are_limited_to_a_multiple_of_the_median():
    updates = [
        u._replace(windows=w, counts=np.full((3, 3), w))
        for u, w in zip(honest_updates(4), [10.0, 20.0, 30.0, 1e9], strict=True)
    ]
    limited = limit_claims(updates, 5.0)
    assert [u.windows for u in limited] == [10, 20, 30, 100]
    np.testing.assert_allclose(limited[3].counts, 100)


@pytest.mark.parametrize("rule", RULES)
def test_rules_work_with_methods_that_keep_a_version_for_each_site(rule):
    updates = honest_updates(4)
    result = robust_aggregator(rule, correlated_average)(BASE, OWNERS, updates)
    assert all(f"{u.site}/shared" in result for u in updates)
    assert all(np.isfinite(array).all() for array in result.values())


@pytest.mark.parametrize("rule", ROBUST_RULES)
def test_a_site_that_claims_few_steps_does_not_move_the_average_of_fednova_far(rule):
    updates = [update._replace(steps=40) for update in honest_updates(4)]
    claimed = limit_claims([*updates[:-1], scaled(updates[-1], -1.0)._replace(steps=1)], 2.0)
    result = robust_aggregator(rule, normalised_average)(BASE, OWNERS, claimed)
    assert largest_difference(result, average(BASE, OWNERS, updates)) < 1.1
    limited = limit_claims([*updates[:-1], updates[-1]._replace(steps=30)], 2.0)
    assert [update.steps for update in limited] == [40, 40, 40, 30]
