"""How states are made from what sites have trained: closed forms and equalities."""

import numpy as np
import pytest

from condi_core.averaging import SiteUpdate, average, has_site_versions, keep_separate, site_view
from condi_core.methods.fedadam import BETA1, BETA2, RATE, TAU, adam
from condi_core.methods.fedmsplit import TEMPERATURE, correlated_average
from condi_core.methods.fednova import normalised_average
from condi_core.methods.pepsy import merge_profiles
from condi_core.ownership import SHARED, Owner

OWNERS = {
    "shared": SHARED,
    "rows": Owner("modality"),
    "pairs": Owner("pair"),
    "some": Owner("modality", (2,)),
}
RNG = np.random.default_rng(0)


def draw(scale=1.0):
    shapes = {"shared": (5,), "rows": (3, 4), "pairs": (3, 3, 2), "some": (1, 2)}
    return {name: (scale * RNG.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


BASE = draw()


def site(name, windows, present=(1, 1, 1), steps=5, arrays=None):
    p = np.array(present, float)
    return SiteUpdate(arrays or draw(), windows * np.outer(p, p), windows, steps, name)


def close(one, two, tolerance=1e-6):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=0, atol=tolerance, err_msg=name)


def test_a_site_has_its_own_versions_and_all_others():
    state = {"w": np.zeros(1), "b": np.ones(1), "north/w": np.full(1, 2.0), "rule/m/w": np.full(1, 9.0)}
    assert {k: v.item() for k, v in site_view(state, "north").items()} == {"w": 2, "b": 1}
    assert {k: v.item() for k, v in site_view(state, "rule").items()} == {"w": 0, "b": 1}
    assert has_site_versions(state, ["south", "north"]) and not has_site_versions(state, ["south", "rule"])


def test_alone_each_goes_on_with_what_it_has_trained_and_the_absent_with_what_they_had():
    first = keep_separate(BASE, OWNERS, [a := site("a", 4.0), site("b", 9.0, present=(1, 0, 0))])
    close(site_view(first, "a"), a.arrays, 0)
    assert (first["b/rows"][1:] == BASE["rows"][1:]).all()  # it has not seen these modalities
    second = keep_separate(first, OWNERS, [site("b", 9.0)])
    close(site_view(second, "a"), a.arrays, 0)
    close({k: second[k] for k in BASE}, BASE, 0)


SITES = [site("a", 4.0), site("b", 9.0, (1, 1, 0)), site("c", 2.0, (0, 1, 0))]


def test_fednova_with_equal_steps_is_fedavg():
    close(normalised_average(BASE, OWNERS, SITES), average(BASE, OWNERS, SITES))


def test_fednova_is_its_formula_when_steps_differ():
    a, b = (s._replace(steps=n) for s, n in zip(SITES, (2, 8), strict=False))
    out = normalised_average(BASE, OWNERS, [a, b])
    for piece, wa, wb in (("shared", 4, 9), ("rows", 4, np.array([[9.0], [9], [0]]))):
        step = (wa * (a.arrays[piece] - BASE[piece]) / 2 + wb * (b.arrays[piece] - BASE[piece]) / 8) / (
            wa + wb
        )
        expected = BASE[piece] + (wa * 2 + wb * 8) / (wa + wb) * step
        np.testing.assert_allclose(out[piece], expected, atol=1e-6)


def test_fedadam_is_its_formula_and_remembers():
    there = [site("a", 1.0, (1, 1, 0))]
    first = adam(BASE, OWNERS, there)
    d = there[0].arrays["shared"].astype(float) - BASE["shared"]
    m, v = (1 - BETA1) * d, BETA2 * TAU**2 + (1 - BETA2) * d**2
    np.testing.assert_allclose(first["shared"], BASE["shared"] + RATE * m / (np.sqrt(v) + TAU), atol=1e-6)
    assert first["shared"].dtype == np.float32
    # Nobody has trained the last modality: it stays, and so do its moments in the round after.
    assert (first["rows"][2] == BASE["rows"][2]).all() and (first["rows"][1] != BASE["rows"][1]).all()
    second = adam(first, OWNERS, [site("a", 1.0, (0, 1, 1))])
    assert (second["rows"][0] == first["rows"][0]).all() and (second["fedadam/m/rows"][2] != 0).all()
    still = adam(first, OWNERS, [SiteUpdate(site_view(first, ""), np.ones((3, 3)), 1.0)])
    drift = RATE * BETA1 * m / (np.sqrt(BETA2 * v) + TAU)
    np.testing.assert_allclose(still["shared"], first["shared"] + drift, atol=1e-6)


def test_fedmsplit_of_sites_that_move_alike_is_fedavg():
    alike = [s._replace(arrays=SITES[0].arrays) for s in SITES]
    expected, out = average(BASE, OWNERS, alike), correlated_average(BASE, OWNERS, alike)
    for s in alike:
        close(site_view(out, s.site), expected)


def test_fedmsplit_weighs_blocks_by_how_alike_they_move():
    a, b = site("a", 2.0), site("b", 3.0)
    b.arrays["shared"] = 2 * BASE["shared"] - a.arrays["shared"]  # the other way: a cosine of -1
    b.arrays["rows"] = BASE["rows"] + 2 * (a.arrays["rows"] - BASE["rows"])  # and the same way: 1
    b.arrays["pairs"], a.arrays["pairs"] = BASE["pairs"], BASE["pairs"]
    b.arrays["some"], a.arrays["some"] = BASE["some"], BASE["some"]
    out = correlated_average(BASE, OWNERS, [a, b])
    same, against = 2 * np.exp(1 / TEMPERATURE), 3 * np.exp(-1 / TEMPERATURE)
    expected = (same * a.arrays["shared"] + against * b.arrays["shared"]) / (same + against)
    np.testing.assert_allclose(site_view(out, "a")["shared"], expected, atol=1e-5)
    for s in "ab":
        rows = (2 * a.arrays["rows"] + 3 * b.arrays["rows"]) / 5
        np.testing.assert_allclose(site_view(out, s)["rows"], rows, atol=1e-5)
    close({k: out[k] for k in BASE}, average(BASE, OWNERS, [a, b]))
    assert not np.allclose(site_view(out, "a")["shared"], site_view(out, "b")["shared"])


def test_fedmsplit_keeps_what_a_site_had_where_nobody_trains():
    out = correlated_average(BASE, OWNERS, [site("a", 2.0, (1, 1, 0)), site("b", 3.0, (1, 0, 0))])
    assert (out["b/rows"][2] == BASE["rows"][2]).all() and (out["b/some"] == BASE["some"]).all()
    # Of a modality that it lacks a site gets what others have learned.
    np.testing.assert_allclose(out["b/rows"][1], out["a/rows"][1])


def controls(*rows):
    return {"controls": np.array(rows, np.float32)}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_pepsy_joins_controls_that_are_alike_in_whatever_order_sites_have_them(order):
    base, mine = controls([0.0] * 3, [0.0] * 3, [0.0] * 3), np.eye(3, dtype=np.float32)
    sites = [SiteUpdate({"controls": mine}, np.ones((1, 1)), 1.0, 1, "a")]
    sites.append(SiteUpdate({"controls": 3 * mine[order]}, np.ones((1, 1)), 3.0, 1, "b"))
    out = merge_profiles(base, {"controls": SHARED}, sites)
    np.testing.assert_allclose(out["a/controls"], 2.5 * mine, atol=1e-6)
    np.testing.assert_allclose(out["b/controls"], 2.5 * mine[order], atol=1e-6)


def test_pepsy_leaves_controls_that_no_other_site_has():
    base, sites = controls([0.0, 0.0]), []
    for name, row in (("a", [1.0, 0.0]), ("b", [0.0, 1.0])):
        sites.append(SiteUpdate(controls(row), np.ones((1, 1)), 1.0, 1, name))
    out = merge_profiles(base, {"controls": SHARED}, sites)
    assert out["a/controls"].tolist() == [[1, 0]] and out["b/controls"].tolist() == [[0, 1]]
