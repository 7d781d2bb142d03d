import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_partitions import DataError
from data_partitions.missingness import hide, random_holes

FULL = np.ones((12, 100, 10), bool)
shares = st.one_of(st.just(0.0), st.floats(0.01, 1.0))


def share_hidden(observed=FULL, records=200, **holes) -> float:
    hidden = [hide(observed, seed=0, record_id=str(i), **holes).mean() for i in range(records)]
    return float(np.mean(hidden)) / float(observed.mean())


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 6)),
    seen=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**63),
    record_id=st.text(max_size=8),
    points=shares,
    gaps=shares,
    gap_patches=st.integers(1, 15),
    modalities=shares,
)
def test_a_subset_of_the_observed_never_all_of_it_and_always_the_same(shape, seen, seed, record_id, **holes):
    observed = np.random.default_rng(0).random(shape) < seen
    hidden = hide(observed, seed=seed, record_id=record_id, **holes)
    assert hidden.shape == observed.shape and hidden.dtype == bool
    assert not (hidden & ~observed).any()
    assert (observed & ~hidden).any() == observed.any()
    np.testing.assert_array_equal(hidden, hide(observed, seed=seed, record_id=record_id, **holes))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("mechanism", ["points", "gaps", "modalities"])
def test_shares_are_met(mechanism, rate):
    # At 0.9 one of twelve modalities or one stretch is always left: within that, and sampling error.
    assert share_hidden(**{mechanism: rate}) == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize("patches", [2, 5, 20])
def test_the_share_of_gaps_does_not_depend_on_their_length(patches):
    assert share_hidden(gaps=0.33, gap_patches=patches) == pytest.approx(0.33, abs=0.02)


def test_gaps_are_whole_stretches_at_any_sample():
    starts = set()
    for i in range(50):
        hidden = hide(FULL, seed=0, record_id=str(i), gaps=0.3, gap_patches=5).reshape(12, 1000)
        for stream in hidden:
            edges = np.flatnonzero(np.diff(stream.astype(int), prepend=0, append=0))
            lengths = edges[1::2] - edges[::2]
            assert (lengths % 50 == 0).all(), "gaps of 50 samples may touch, not overlap"
            assert lengths.sum() == 300
            starts |= set(edges[::2] % 10)
    assert starts == set(range(10)), "not only at patch borders"


def test_every_place_is_equally_likely_to_be_in_the_middle_of_a_gap():
    hidden = np.mean([hide(FULL, seed=0, record_id=str(i), gaps=0.3) for i in range(400)], axis=0)
    middle = hidden.reshape(12, 1000).mean(axis=0)[100:900]
    assert middle.std() < 0.02 and middle.mean() == pytest.approx(0.3, abs=0.02)


def test_whole_modalities():
    hidden = np.array([hide(FULL, seed=0, record_id=str(i), modalities=0.4) for i in range(300)])
    whole = hidden.all(axis=(2, 3))
    np.testing.assert_array_equal(whole, hidden.any(axis=(2, 3)))
    assert set(whole.sum(axis=1)) == {4, 5}, "0.4 of 12 is 4.8"
    assert whole.mean() == pytest.approx(0.4, abs=0.01)
    np.testing.assert_allclose(whole.mean(axis=0), 0.4, atol=0.12)


def test_modalities_count_present_ones_and_leave_one():
    observed = FULL.copy()
    observed[2:] = False
    for i in range(20):
        hidden = hide(observed, seed=0, record_id=str(i), modalities=1.0)
        assert hidden.any(axis=(1, 2)).sum() == 1
    one = FULL[:1]
    assert not hide(one, seed=0, record_id="x", modalities=1.0).any()


def test_mechanisms_are_independent_and_compose_by_union():
    holes = {"points": 0.3, "gaps": 0.2, "modalities": 0.25}
    alone = [hide(FULL, seed=1, record_id="a", **{name: rate}) for name, rate in holes.items()]
    np.testing.assert_array_equal(hide(FULL, seed=1, record_id="a", **holes), np.logical_or.reduce(alone))


def test_more_points_hide_a_superset():
    few = hide(FULL, seed=1, record_id="a", points=0.2)
    many = hide(FULL, seed=1, record_id="a", points=0.6)
    assert (many | few == many).all() and many.sum() > few.sum()


def test_holes_do_not_depend_on_what_else_is_observed():
    observed = FULL.copy()
    observed[3] = False
    for holes in ({"points": 0.4}, {"gaps": 0.4}):
        part = hide(observed, seed=1, record_id="a", **holes)
        np.testing.assert_array_equal(part, hide(FULL, seed=1, record_id="a", **holes) & observed)


def test_slow_modalities_have_gaps_in_their_own_samples():
    observed = np.zeros((2, 30, 100), bool)
    observed[0] = True
    observed[1, :, 0] = True
    lengths = []
    for i in range(300):
        hidden = hide(observed, seed=0, record_id=str(i), gaps=0.4, gap_patches=3, samples_per_patch=(100, 1))
        assert hidden[0].sum() == 1200 and not hidden[1, :, 1:].any()
        lengths.append(hidden[1, :, 0].sum())
    assert set(lengths) == {12}, "four gaps of three patches"


def test_when_all_would_go_one_stretch_of_one_modality_stays():
    hidden = hide(FULL, seed=0, record_id="a", points=1.0, gap_patches=5)
    left = ~hidden
    assert left.any(axis=(1, 2)).sum() == 1
    patches = np.flatnonzero(left.any(axis=(0, 2)))
    assert 1 <= len(patches) <= 5 and (np.diff(patches) == 1).all()
    assert left[:, patches].any(axis=0).all()


def test_seed_and_record_decide():
    masks = [
        hide(FULL, seed=seed, record_id=record, points=0.5).tobytes()
        for seed in (0, 1)
        for record in ("a", "b")
    ]
    assert len(set(masks)) == 4


def test_the_same_in_another_process():
    code = (
        "import numpy as np, hashlib; from data_partitions.missingness import hide;"
        "h = hide(np.ones((12, 100, 10), bool), seed=5, record_id='r', points=.3, gaps=.3, modalities=.3);"
        "print(hashlib.sha256(h.tobytes()).hexdigest())"
    )
    here = hide(FULL, seed=5, record_id="r", points=0.3, gaps=0.3, modalities=0.3)
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("holes", "sentence"),
    [
        ({"points": 1.1}, "the share of points to hide must be from 0 to 1, it is 1.1"),
        ({"gaps": -0.1}, "the share of gaps to hide"),
        ({"modalities": float("nan")}, "the share of modalities to hide"),
        ({"gaps": 0.1, "gap_patches": 0}, "a gap must have at least one patch"),
    ],
)
def test_impossible_shares_are_refused(holes, sentence):
    with pytest.raises(DataError, match=sentence):
        hide(FULL, seed=0, record_id="a", **holes)


def test_random_holes_is_the_mixture_it_promises():
    rng = np.random.default_rng(0)
    drawn = [random_holes(rng) for _ in range(3000)]
    gaps = [holes for holes in drawn if "gaps" in holes]
    whole = [holes for holes in drawn if "modalities" in holes]
    points = [holes for holes in drawn if set(holes) == {"points"}]
    assert len(gaps) + len(whole) + len(points) == 3000
    np.testing.assert_allclose(
        np.array([len(points), len(gaps), len(whole)]) / 3000, [0.4, 0.3, 0.3], atol=0.03
    )
    assert {holes["gap_patches"] for holes in gaps} == {2, 5, 10, 20}
    for some, name, low, high in [
        (points, "points", 0.1, 0.9),
        (gaps, "gaps", 0.2, 0.7),
        (whole, "modalities", 0.1, 0.6),
    ]:
        values = [holes[name] for holes in some]
        assert low <= min(values) < low + 0.02 and high - 0.02 < max(values) <= high
    assert {holes["points"] for holes in gaps + whole if "points" in holes} == {0.2}
    assert not any(set(holes) - {"points", "gaps", "gap_patches", "modalities"} for holes in drawn)
    assert random_holes(np.random.default_rng(7)) == random_holes(np.random.default_rng(7))
