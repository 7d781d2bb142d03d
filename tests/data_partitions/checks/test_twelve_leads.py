"""Limb leads that do not agree are noticed, and what mends them is named."""

import numpy as np
import pytest

from data_partitions.checks.twelve_leads import arms_exchanged, check_limb_leads


def limb_leads(resolution: float = 0.005) -> dict[str, np.ndarray]:
    """Return six leads in mV that agree up to rounding, each with an offset of its own."""
    rng = np.random.default_rng(5)
    source = rng.standard_normal((2, 2000)).cumsum(axis=1)
    first, second = source / source.std(axis=1, keepdims=True) * 0.2
    leads = {
        "I": first,
        "II": second,
        "III": second - first,
        "aVR": -(first + second) / 2,
        "aVL": first - second / 2,
        "aVF": second - first / 2,
    }
    return {
        name: np.round((lead + 0.1 * i) / resolution) * resolution
        for i, (name, lead) in enumerate(leads.items())
    }


def test_leads_that_agree_up_to_rounding_and_offsets_agree():
    check = check_limb_leads(limb_leads())
    assert check.agrees
    assert check.residual < 0.03


def test_gains_that_are_wrong_lead_by_lead_are_estimated():
    gains = {"I": 1.7, "II": 1.2, "III": 1.2, "aVR": 1.4, "aVL": 1.4, "aVF": 0.7}
    check = check_limb_leads({name: lead / gains[name] for name, lead in limb_leads().items()})
    assert not check.agrees
    ratios = [check.gains[name] / gains[name] for name in gains]
    assert np.ptp(ratios) / np.mean(ratios) < 0.05


def test_an_inverted_lead_has_a_negative_gain():
    leads = limb_leads()
    check = check_limb_leads({**leads, "aVR": -leads["aVR"]})
    assert check.gains["aVR"] == pytest.approx(-1, abs=0.05)
    assert all(gain > 0 for name, gain in check.gains.items() if name != "aVR")


def test_exchanged_names_are_named():
    leads = limb_leads()
    assert check_limb_leads({**leads, "II": leads["III"], "III": leads["II"]}).exchanged == ("II", "III")


def test_three_leads_are_enough_and_two_are_not():
    leads = limb_leads()
    three = {name: leads[name] for name in ("I", "II", "III")}
    assert check_limb_leads(three).agrees
    assert not check_limb_leads({**three, "III": 3 * leads["III"]}).agrees
    assert check_limb_leads({name: leads[name] for name in ("I", "II")}) is None


def test_unrelated_leads_have_no_gains():
    rng = np.random.default_rng(0)
    check = check_limb_leads({name: rng.standard_normal(2000) for name in limb_leads()})
    assert check.gains is None
    assert check.exchanged is None


def test_arms_are_exchanged_where_lead_one_is_opposite_to_v6():
    first = limb_leads()["I"]
    noise = 0.05 * np.random.default_rng(0).standard_normal(first.size)
    assert arms_exchanged(-first, first + noise)
    assert not arms_exchanged(first, first + noise)
