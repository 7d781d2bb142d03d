"""The registry of mechanisms, and the settings of missingness as a value."""

from pathlib import Path

import numpy as np
import pytest

from condi_core.missingness import (
    AMOUNTS,
    MECHANISMS,
    SETTINGS,
    Missingness,
    MissingnessError,
    active_settings,
    missingness_mask,
)
from condi_core.missingness.dependence import DEPENDENCES

RUN = dict(Missingness(points=0.3, gaps=0.2, gap_patches=3))
AMOUNTS_THAT_ARE_NO_SHARES = {"subsample-to": 5.0}
# One case for each mechanism and each value of a parameter that is one of several words.
MECHANISM_CASES = [
    pytest.param(mechanism, parameters, id=f"{mechanism.name} {' '.join(parameters.values())}".strip())
    for mechanism in MECHANISMS
    for parameters in [
        {},
        *(
            {setting.name: dependence}
            for setting in mechanism.parameters
            for dependence in DEPENDENCES[1:]
            if setting.is_valid(dependence)
        ),
    ]
]


def test_every_mechanism_is_off_by_default_and_has_its_own_stream():
    assert not any(Missingness()[name] for name in AMOUNTS)
    assert len({mechanism.stream for mechanism in MECHANISMS}) == len(MECHANISMS)
    for name, setting in SETTINGS.items():
        assert name == setting.name and setting.meaning and setting.is_valid(setting.default)


@pytest.mark.parametrize(("mechanism", "parameters"), MECHANISM_CASES)
def test_the_expected_share_is_the_mean_of_masks(mechanism, parameters):
    amount = AMOUNTS_THAT_ARE_NO_SHARES.get(mechanism.name, 0.5)
    missingness = Missingness(**{mechanism.name: amount}, **parameters)
    rng, rates = np.random.default_rng(0), [10, 4, 10, 4, 10, 4]
    observed = np.arange(10) < np.array(rates)[:, None, None] + np.zeros((6, 40, 1))
    shares = []
    for i in range(300):
        hidden = missingness_mask(
            rng.standard_normal(observed.shape), observed, missingness, seed=0, record_id=str(i),
            samples_per_patch=rates, site=str(i),
        )  # fmt: skip
        shares.append((hidden.sum((1, 2)) / observed.sum((1, 2))).mean())
    assert missingness.expected_share(rates) > 0
    assert np.mean(shares) == pytest.approx(missingness.expected_share(rates), abs=0.03)


def test_the_settings_of_a_run_are_described_as_in_the_registry():
    """Flower requires each setting in pyproject.toml. The comments there are the meanings in the registry."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    section = text.split("[tool.flwr.app.config.missingness]")[1].split("\n\n")[0]
    lines = [line.partition("#") for line in section.splitlines()[1:]]
    described = {line[0].partition("=")[0].strip(): line[2].strip() for line in lines}
    assert described == {name: setting.meaning for name, setting in SETTINGS.items()}


def test_expected_shares_of_independent_mechanisms_multiply():
    missingness = Missingness(points=0.5, gaps=0.5, modality_by_site=0.2, subsample_to=2.0)
    assert missingness.expected_share([4, 1]) == pytest.approx(1 - 0.5 * 0.5 * 0.8 * 0.75)
    assert Missingness().expected_share([1]) == 0


def test_a_value_equals_another_with_the_same_settings():
    assert Missingness(points=0.5) == Missingness(points=0.5, gaps=0)
    assert hash(Missingness(points=0.5)) == hash(Missingness(points=0.5, gaps=0))
    assert Missingness(points=0.5) != Missingness(points=0.4)
    assert repr(Missingness(points=0.5, gap_patches=3)) == "Missingness(points=0.5, gap_patches=3)"
    with pytest.raises(TypeError):
        Missingness()["points"] = 0.3


def test_settings_of_a_run_are_read_as_they_were_written():
    assert Missingness.from_settings(RUN) == Missingness(points=0.3, gaps=0.2, gap_patches=3)
    assert dict(Missingness.from_settings(RUN)) == RUN


def test_every_fault_of_the_settings_of_a_run_is_named():
    faulty = RUN | {"points": 1.0, "gap": 0.2, "gap-patches": True}
    del faulty["bursts"]
    with pytest.raises(MissingnessError) as error:
        Missingness.from_settings(faulty)
    assert error.value.complaints == (
        "setting 'missingness.points': expected a share below 1, as a run must have samples left, got 1.0",
        "setting 'missingness.gap-patches': expected a whole number of at least 1, got True",
        "unknown setting 'missingness.gap' (did you mean 'missingness.gaps'?)",
        "setting 'missingness.bursts' is missing",
    )
    assert str(error.value) == "; ".join(error.value.complaints)


def test_overrides_replace_single_settings():
    changed = Missingness.from_settings(RUN).with_overrides(
        {"points": 0.8, "gaps": 0, "gaps-mechanism": "mar"}
    )
    assert changed == Missingness(points=0.8, gap_patches=3, gaps_mechanism="mar")
    assert Missingness(points=0.1).with_overrides({}) == Missingness(points=0.1)


def test_only_test_windows_have_overrides():
    for split, points in (("train", 0.3), ("val", 0.3), ("test", 0.8)):
        assert Missingness.for_split(split, RUN, {"points": 0.8})["points"] == points


def test_what_a_site_loses_is_separate():
    missingness = Missingness(points=0.5, modality_by_window=0.2, modality_by_site=0.3)
    assert missingness.of_site() == Missingness(modality_by_site=0.3)


def test_active_settings_are_those_with_an_effect():
    assert active_settings({"points": 0, "points-mechanism": "mar", "gaps": 0.5, "gap-patches": 2}) == {
        "gaps": 0.5,
        "gap-patches": 2,
    }
    assert active_settings({"blackout": 0.1, "gap-patches": 2}) == {"blackout": 0.1, "gap-patches": 2}
    assert active_settings({"gap-patches": 2, "other": 1}) == {"other": 1}
