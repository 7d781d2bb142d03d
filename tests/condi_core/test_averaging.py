"""Aggregation rules, compared with closed forms."""

from importlib import import_module

import numpy as np
import pytest

from condi_core.averaging import SiteUpdate, average, has_site_versions, keep_separate, site_view
from condi_core.methods.fedadam import BETA1, BETA2, RATE, TAU, adam_step
from condi_core.methods.fedmsplit import TEMPERATURE, correlated_average
from condi_core.methods.fednova import normalised_average
from condi_core.methods.pepsy import merge_profiles
from condi_core.ownership import SHARED, Owner
from tests.helpers.run_settings import PROJECT

OWNERS = {
    "shared": SHARED,
    "rows": Owner("modality"),
    "pairs": Owner("pair"),
    "some": Owner("modality", (2,)),
}
RNG = np.random.default_rng(0)


def random_arrays(scale=1.0):
    shapes = {"shared": (5,), "rows": (3, 4), "pairs": (3, 3, 2), "some": (1, 2)}
    return {name: (scale * RNG.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


BASE = random_arrays()


def update_of(name, windows, present=(1, 1, 1), steps=5, arrays=None):
    p = np.array(present, float)
    return SiteUpdate(arrays or random_arrays(), windows * np.outer(p, p), windows, steps, name)


def assert_close(actual, expected, tolerance=1e-6):
    assert actual.keys() == expected.keys()
    for name in actual:
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=tolerance, err_msg=name)


def test_a_site_has_its_versions_and_the_shared_arrays():
    state = {"w": np.zeros(1), "b": np.ones(1), "north/w": np.full(1, 2.0), "rule/m/w": np.full(1, 9.0)}
    assert {k: v.item() for k, v in site_view(state, "north").items()} == {"w": 2, "b": 1}
    assert {k: v.item() for k, v in site_view(state, "rule").items()} == {"w": 0, "b": 1}
    assert has_site_versions(state, ["south", "north"]) and not has_site_versions(state, ["south", "rule"])


def test_keep_separate_gives_each_site_its_update_and_keeps_the_versions_of_other_sites():
    first = keep_separate(BASE, OWNERS, [a := update_of("a", 4.0), update_of("b", 9.0, present=(1, 0, 0))])
    assert_close(site_view(first, "a"), a.arrays, 0)
    assert (first["b/rows"][1:] == BASE["rows"][1:]).all()  # modalities that it does not have
    second = keep_separate(first, OWNERS, [update_of("b", 9.0)])
    assert_close(site_view(second, "a"), a.arrays, 0)
    assert_close({k: second[k] for k in BASE}, BASE, 0)


UPDATES = [update_of("a", 4.0), update_of("b", 9.0, (1, 1, 0)), update_of("c", 2.0, (0, 1, 0))]


def test_fednova_with_equal_steps_is_fedavg():
    assert_close(normalised_average(BASE, OWNERS, UPDATES), average(BASE, OWNERS, UPDATES))


def test_fednova_with_different_steps_is_its_formula():
    a, b = (s._replace(steps=n) for s, n in zip(UPDATES, (2, 8), strict=False))
    out = normalised_average(BASE, OWNERS, [a, b])
    for piece, wa, wb in (("shared", 4, 9), ("rows", 4, np.array([[9.0], [9], [0]]))):
        step = (wa * (a.arrays[piece] - BASE[piece]) / 2 + wb * (b.arrays[piece] - BASE[piece]) / 8) / (
            wa + wb
        )
        expected = BASE[piece] + (wa * 2 + wb * 8) / (wa + wb) * step
        np.testing.assert_allclose(out[piece], expected, atol=1e-6)


def test_fedadam_is_its_formula_and_keeps_its_moments():
    updates = [update_of("a", 1.0, (1, 1, 0))]
    first = adam_step(BASE, OWNERS, updates)
    d = updates[0].arrays["shared"].astype(float) - BASE["shared"]
    m, v = (1 - BETA1) * d, BETA2 * TAU**2 + (1 - BETA2) * d**2
    np.testing.assert_allclose(first["shared"], BASE["shared"] + RATE * m / (np.sqrt(v) + TAU), atol=1e-6)
    assert first["shared"].dtype == np.float32
    # No site trained the last modality, so its rows stay. Moments without training stay in the next round.
    assert (first["rows"][2] == BASE["rows"][2]).all() and (first["rows"][1] != BASE["rows"][1]).all()
    second = adam_step(first, OWNERS, [update_of("a", 1.0, (0, 1, 1))])
    assert (second["rows"][0] == first["rows"][0]).all() and (second["fedadam/m/rows"][2] != 0).all()
    still = adam_step(first, OWNERS, [SiteUpdate(site_view(first, ""), np.ones((3, 3)), 1.0)])
    drift = RATE * BETA1 * m / (np.sqrt(BETA2 * v) + TAU)
    np.testing.assert_allclose(still["shared"], first["shared"] + drift, atol=1e-6)


def test_fedmsplit_of_sites_with_equal_updates_is_fedavg():
    similar = [s._replace(arrays=UPDATES[0].arrays) for s in UPDATES]
    expected, out = average(BASE, OWNERS, similar), correlated_average(BASE, OWNERS, similar)
    for s in similar:
        assert_close(site_view(out, s.site), expected)


def test_fedmsplit_weights_blocks_by_the_similarity_of_updates():
    a, b = update_of("a", 2.0), update_of("b", 3.0)
    b.arrays["shared"] = 2 * BASE["shared"] - a.arrays["shared"]  # the opposite direction: a cosine of -1
    b.arrays["rows"] = BASE["rows"] + 2 * (
        a.arrays["rows"] - BASE["rows"]
    )  # the same direction: a cosine of 1
    b.arrays["pairs"], a.arrays["pairs"] = BASE["pairs"], BASE["pairs"]
    b.arrays["some"], a.arrays["some"] = BASE["some"], BASE["some"]
    out = correlated_average(BASE, OWNERS, [a, b])
    same, opposite = 2 * np.exp(1 / TEMPERATURE), 3 * np.exp(-1 / TEMPERATURE)
    expected = (same * a.arrays["shared"] + opposite * b.arrays["shared"]) / (same + opposite)
    np.testing.assert_allclose(site_view(out, "a")["shared"], expected, atol=1e-5)
    for s in "ab":
        rows = (2 * a.arrays["rows"] + 3 * b.arrays["rows"]) / 5
        np.testing.assert_allclose(site_view(out, s)["rows"], rows, atol=1e-5)
    assert_close({k: out[k] for k in BASE}, average(BASE, OWNERS, [a, b]))
    assert not np.allclose(site_view(out, "a")["shared"], site_view(out, "b")["shared"])


def test_fedmsplit_at_a_small_temperature_takes_the_block_of_the_most_similar_site():
    a, b = update_of("a", 2.0), update_of("b", 3.0)
    b.arrays["shared"] = 2 * BASE["shared"] - a.arrays["shared"]
    out = correlated_average(BASE, OWNERS, [a, b], temperature=1e-4)
    for s in (a, b):
        np.testing.assert_allclose(site_view(out, s.site)["shared"], s.arrays["shared"], atol=1e-6)


def test_fedmsplit_keeps_what_no_site_trained():
    out = correlated_average(BASE, OWNERS, [update_of("a", 2.0, (1, 1, 0)), update_of("b", 3.0, (1, 0, 0))])
    assert (out["b/rows"][2] == BASE["rows"][2]).all() and (out["b/some"] == BASE["some"]).all()
    # A site without a modality gets the average of the sites that trained it.
    np.testing.assert_allclose(out["b/rows"][1], out["a/rows"][1])


def controls(*rows):
    return {"controls": np.array(rows, np.float32)}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_pepsy_merges_similar_controls_in_any_order(order):
    base, profile = controls([0.0] * 3, [0.0] * 3, [0.0] * 3), np.eye(3, dtype=np.float32)
    sites = [SiteUpdate({"controls": profile}, np.ones((1, 1)), 1.0, 1, "a")]
    sites.append(SiteUpdate({"controls": 3 * profile[order]}, np.ones((1, 1)), 3.0, 1, "b"))
    out = merge_profiles(base, {"controls": SHARED}, sites)
    np.testing.assert_allclose(out["a/controls"], 2.5 * profile, atol=1e-6)
    np.testing.assert_allclose(out["b/controls"], 2.5 * profile[order], atol=1e-6)


def test_pepsy_does_not_change_controls_without_a_similar_one():
    base, sites = controls([0.0, 0.0]), []
    for name, row in (("a", [1.0, 0.0]), ("b", [0.0, 1.0])):
        sites.append(SiteUpdate(controls(row), np.ones((1, 1)), 1.0, 1, name))
    out = merge_profiles(base, {"controls": SHARED}, sites)
    assert out["a/controls"].tolist() == [[1, 0]] and out["b/controls"].tolist() == [[0, 1]]


def test_pepsy_keeps_the_controls_of_a_site_without_weight():
    base = controls([0.0, 0.0]) | {"b/controls": np.array([[0.0, 5.0]], np.float32)}
    sites = [SiteUpdate(controls([1.0, 0.0]), np.ones((1, 1)), 1.0, 1, "a")]
    sites.append(SiteUpdate(controls([0.0, 1.0]), np.ones((1, 1)), 0.0, 1, "b"))  # excluded as an outlier
    out = merge_profiles(base, {"controls": SHARED}, sites)
    assert out["a/controls"].tolist() == [[1, 0]] and out["b/controls"].tolist() == [[0, 5]]


def test_the_example_of_a_method_of_another_package_weighs_windows_to_a_power(monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "examples" / "own-method")
    method = import_module("tempered_fedavg").METHOD
    assert_close(
        method.with_options({"power": 1}).combine(BASE, OWNERS, UPDATES), average(BASE, OWNERS, UPDATES)
    )
    same = method.with_options({"power": 0}).combine(BASE, OWNERS, UPDATES)
    np.testing.assert_allclose(same["shared"], np.mean([u.arrays["shared"] for u in UPDATES], 0), atol=1e-6)
