"""Properties of `missingness_mask` under all mechanisms; test_mechanisms.py tests each of them."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condi_core.missingness import (
    Missingness,
    MissingnessError,
    missingness_mask,
    sample_training_missingness,
)

FULL = np.ones((12, 100, 10), bool)
VALUES = np.random.default_rng(1).standard_normal(FULL.shape).astype(np.float32)
EVERYTHING = {
    "points": 0.2,
    "points_mechanism": "mnar",
    "gaps": 0.1,
    "gaps_mechanism": "mar",
    "gap_patches": 4,
    "bursts": 0.1,
    "burst_patches": 1.5,
    "blackout": 0.1,
    "modality_by_window": 0.1,
    "modality_by_site": 0.2,
    "subsample_to": 7.5,
}
shares = st.one_of(st.just(0.0), st.floats(0.01, 1.0))
dependences = st.sampled_from(["mcar", "mar", "mnar"])
any_missingness = st.builds(
    Missingness,
    points=shares,
    points_mechanism=dependences,
    gaps=shares,
    gaps_mechanism=dependences,
    gap_patches=st.integers(1, 15),
    bursts=shares,
    burst_patches=st.floats(0.01, 20),
    blackout=shares,
    modality_by_window=shares,
    modality_by_site=shares,
    subsample_to=st.sampled_from([0.0, 0.01, 1.0, 2.5, 9.0]),
)


def mask(missingness, observed=FULL, values=VALUES, seed=0, record_id="a", **window):
    missingness = missingness if isinstance(missingness, Missingness) else Missingness(**missingness)
    return missingness_mask(values, observed, missingness, seed=seed, record_id=record_id, **window)


@settings(max_examples=400, deadline=None)
@given(
    rates=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    patches=st.integers(1, 12),
    observed_share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**63),
    record_id=st.text(max_size=8),
    missingness=any_missingness,
    data=st.data(),
)
def test_masks_hide_a_proper_subset_of_the_observed_samples_and_are_deterministic(
    rates, patches, observed_share, seed, record_id, missingness, data
):
    rng = np.random.default_rng(0)
    shape = (len(rates), patches, max(rates))
    observed = (rng.random(shape) < observed_share) & (np.arange(max(rates)) < np.array(rates)[:, None, None])
    values = rng.standard_normal(shape).astype(np.float32)
    window = {"seed": seed, "record_id": record_id, "samples_per_patch": rates, "site": "a"}
    hidden = mask(missingness, observed, values, **window)
    assert hidden.shape == observed.shape and hidden.dtype == bool
    assert not (hidden & ~observed).any()
    remaining = observed & ~mask(missingness.of_site(), observed, values, **window)
    assert not (observed & ~remaining & ~hidden).any(), "what the site loses is hidden"
    assert (remaining & ~hidden).any() == remaining.any()
    np.random.seed(data.draw(st.integers(0, 9)))
    state = np.random.get_state()[1].copy()
    replaced = np.where(remaining, values, data.draw(st.sampled_from([np.nan, np.inf, -1e30, 7.0])))
    np.testing.assert_array_equal(hidden, mask(missingness, observed, replaced, **window))
    assert (np.random.get_state()[1] == state).all()


EXPECTED_HASHES = {
    "points": ({"points": 0.3}, "cd6c12939f8b66b9e7047f8161dc56da0a6c1701d303a374d705988937dd2f35"),
    "gaps": ({"gaps": 0.3}, "e03b5014456af01e3e78a8454e058f62a195aac9766668c918d847f818cdd894"),
    "modalities": (
        {"modality_by_window": 0.3},
        "a25e8ca1774f31b596df8249eac24880cf4a6c9838154866ac2eeb1862a9dc0c",
    ),
    "shown again": ({"points": 1.0}, "6cc7c7bca10ed28287afce69ac44eec7239bc65c36f018392468626bdab71a7a"),
    "all": (
        {"points": 0.3, "gaps": 0.3, "gap_patches": 5, "modality_by_window": 0.1},
        "e9f7df7c815e6d28859de330ec67d2080d249e713d5ae597e8e05039aa080fbd",
    ),
    "slow": (
        {"points": 0.3, "gaps": 0.4, "gap_patches": 3, "modality_by_window": 0.3},
        "f6ed526ee4283defcf06bf3a24a7bb608440aa00c8cf2fcf8a72a6f1f8470f68",
    ),
}


@pytest.mark.parametrize("name", EXPECTED_HASHES)
def test_masks_do_not_change_between_versions(name):
    """Results of earlier runs are scores of exactly these samples."""
    observed, rates = FULL, None
    if name == "all":
        observed = np.random.default_rng(3).random(FULL.shape) < 0.7
    elif name == "slow":
        observed, rates = np.zeros((2, 30, 100), bool), (100, 1)
        observed[0] = observed[1, :, 0] = True
    missingness, expected = EXPECTED_HASHES[name]
    digest = hashlib.sha256()
    for record in ("a", "b", "rec/3"):
        digest.update(mask(missingness, observed, None, 5, record, samples_per_patch=rates).tobytes())
    assert digest.hexdigest() == expected


def test_by_default_nothing_is_hidden():
    assert not mask({}).any()


def test_mechanisms_are_independent_and_compose_by_union():
    missingness = {
        "points": 0.1,
        "gaps": 0.1,
        "bursts": 0.1,
        "blackout": 0.1,
        "modality_by_window": 0.1,
        "modality_by_site": 0.1,
        "subsample_to": 9,
    }
    alone = [mask({name: rate}) for name, rate in missingness.items()]
    assert len({a.tobytes() for a in alone}) == len(missingness)
    np.testing.assert_array_equal(mask(missingness), np.logical_or.reduce(alone))


def test_more_points_hide_a_superset():
    for dependence in ("mcar", "mnar"):
        smaller, larger = (mask({"points": share, "points_mechanism": dependence}) for share in (0.2, 0.6))
        assert (larger | smaller == larger).all() and larger.sum() > smaller.sum()


def test_a_mask_does_not_depend_on_which_samples_are_observed():
    observed = FULL.copy()
    observed[3] = False
    for missingness in (
        {"points": 0.4},
        {"gaps": 0.4},
        {"bursts": 0.4},
        {"blackout": 0.4},
        {"subsample_to": 4},
    ):
        np.testing.assert_array_equal(mask(missingness, observed), mask(missingness) & observed)


def test_if_everything_would_be_hidden_one_stretch_of_one_modality_remains():
    for missingness in ({"points": 1.0}, {"bursts": 1.0}, {"blackout": 1.0}, {"subsample_to": 1e-9}):
        remaining = ~mask(missingness | {"gap_patches": 5})
        assert remaining.any(axis=(1, 2)).sum() == 1
        patches = np.flatnonzero(remaining.any(axis=(0, 2)))
        assert 1 <= len(patches) <= 5 and (np.diff(patches) == 1).all()
        assert remaining[:, patches].any(axis=0).all()


def test_masks_depend_on_seed_and_record():
    for missingness in ({"points": 0.5}, {"bursts": 0.5}, {"blackout": 0.5}, EVERYTHING):
        masks = [mask(missingness, seed=seed, record_id=r).tobytes() for seed in (0, 1) for r in ("a", "b")]
        assert len(set(masks)) == 4


def test_masks_are_the_same_in_another_process():
    code = (
        "import numpy as np, hashlib; from condi_core.missingness import Missingness, missingness_mask;"
        "v = np.random.default_rng(1).standard_normal((12, 100, 10)).astype(np.float32);"
        f"h = missingness_mask(v, v < 9, Missingness(**{EVERYTHING!r}), seed=5, record_id='r', site='s');"
        "print(hashlib.sha256(h.tobytes()).hexdigest())"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = mask(EVERYTHING, seed=5, record_id="r", site="s")
    assert 0.3 < expected.mean() < 0.9
    assert process.stdout.strip() == hashlib.sha256(expected.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("missingness", "sentence"),
    [
        ({"points": 1.1}, "setting 'missingness.points': expected a share from 0 to 1, got 1.1"),
        ({"gaps": -0.1}, "gaps': expected a share from 0 to 1, got -0.1"),
        ({"bursts": 2.0}, "bursts': expected a share"),
        ({"blackout": float("inf")}, "blackout': expected a share"),
        ({"modality_by_window": float("nan")}, "modality-by-window': expected a share from 0 to 1, got nan"),
        ({"modality_by_site": 1.5}, "modality-by-site': expected a share"),
        ({"gap_patches": 0}, "gap-patches': expected a whole number of at least 1, got 0"),
        ({"burst_patches": 0.0}, "burst-patches': expected a finite number above 0, got 0.0"),
        ({"burst_patches": float("inf")}, "burst-patches': expected a finite number above 0, got inf"),
        ({"subsample_to": -1.0}, "subsample-to': expected a finite number above 0, or 0 for off, got -1.0"),
        ({"subsample_to": float("nan")}, "subsample-to': expected a finite number"),
        ({"points_mechanism": "others"}, "points-mechanism': expected one of mcar, mar, mnar, got 'others'"),
        ({"gaps_mechanism": ""}, "gaps-mechanism': expected one of mcar"),
        ({"point": 0.1}, "unknown setting 'missingness.point' .did you mean 'missingness.points'"),
        ({"gaps": 2, "burst": 0.1}, "gaps': .*, got 2; unknown setting 'missingness.burst'"),
    ],
)
def test_invalid_settings_are_refused_in_one_sentence(missingness, sentence):
    with pytest.raises(MissingnessError, match=sentence) as error:
        Missingness(**missingness)
    assert "\n" not in str(error.value)


def test_training_missingness_is_the_documented_mixture():
    rng = np.random.default_rng(0)
    drawn = [sample_training_missingness(rng) for _ in range(3000)]
    gaps = [m for m in drawn if m["gaps"]]
    modalities = [m for m in drawn if m["modality-by-window"]]
    points = [m for m in drawn if not m["gaps"] and not m["modality-by-window"]]
    assert len(gaps) + len(modalities) + len(points) == 3000
    np.testing.assert_allclose(
        np.array([len(points), len(gaps), len(modalities)]) / 3000, [0.4, 0.3, 0.3], atol=0.03
    )
    assert {m["gap-patches"] for m in gaps} == {2, 5, 10, 20}
    for group, name, low, high in [
        (points, "points", 0.1, 0.9),
        (gaps, "gaps", 0.2, 0.7),
        (modalities, "modality-by-window", 0.1, 0.6),
    ]:
        values = [m[name] for m in group]
        assert low <= min(values) < low + 0.02 and high - 0.02 < max(values) <= high
    assert {m["points"] for m in gaps + modalities} == {0.0, 0.2}
    assert np.mean([m["points"] > 0 for m in gaps + modalities]) == pytest.approx(1 / 3, abs=0.04)
    for m in drawn:
        assert m in (
            Missingness(points=m["points"], gaps=m["gaps"], gap_patches=m["gap-patches"]),
            Missingness(points=m["points"], modality_by_window=m["modality-by-window"]),
        )
    assert sample_training_missingness(np.random.default_rng(7)) == sample_training_missingness(
        np.random.default_rng(7)
    )
