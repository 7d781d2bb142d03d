"""Settings of a run as the coordinator checks them: those of the core and those of the missingness."""

import json

import pytest

from condi_core.config import ConfigError, setting_names
from condi_core.missingness import SETTINGS
from server_app.settings import validate_settings
from tests.helpers.run_settings import flat_defaults


def test_defaults_are_valid_and_complete():
    config = validate_settings(flat_defaults())
    assert config.flat() == flat_defaults()
    assert sorted(flat_defaults()) == sorted(
        [*setting_names(), *(f"missingness.{name}" for name in SETTINGS)]
    )


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("missingness.gap-patch", "missingness.gap-patches"),
        ("missingness.gap_patches", "missingness.gap-patches"),
        ("missingnes.points", "missingness.points"),
        ("imputer.step", "imputer.steps"),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest_valid_one(key, nearest):
    with pytest.raises(ConfigError) as error:
        validate_settings(flat_defaults() | {key: 4})
    assert str(error.value) == f"unknown setting '{key}' (did you mean '{nearest}'?)"


@pytest.mark.parametrize("key", ["missingness", "missingness.zzzz", "missingness.points.x", "zzzz.points"])
def test_any_unknown_key_is_refused(key):
    with pytest.raises(ConfigError, match=f"unknown setting '{key}'"):
        validate_settings(flat_defaults() | {key: 4})


def test_all_bad_keys_are_reported_at_once():
    bad = {"missingness.points": 1.0, "task.rounds": "six", "missingness.gaps-mechanism": "any"}
    bad |= {"missingness.gap-patches": 2.5, "test-missingness": "points=2 gap=1", "seed": -1}
    settings = flat_defaults() | bad | {"missingness.point": 1}
    del settings["missingness.bursts"]
    with pytest.raises(ConfigError) as error:
        validate_settings(settings)
    message = str(error.value)
    assert "\n" not in message
    for key, value in bad.items():
        assert f"setting '{key}': " in message and f"got {value!r}" in message
    assert "points: expected a share from 0 to 1, got 2; unknown 'gap' (did you mean 'gaps'?)" in message
    assert "unknown setting 'missingness.point'" in message
    assert "setting 'missingness.bursts' is missing" in message
    assert len(error.value.complaints) == len(bad) + 2


@pytest.mark.parametrize("value", [-0.1, 1.0, 1, float("nan"), "0.5", True, None])
def test_shares_lie_below_one(value):
    with pytest.raises(ConfigError, match="missingness.points"):
        validate_settings(flat_defaults() | {"missingness.points": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("points-mechanism", "others"),
        ("points-mechanism", 1),
        ("gaps-mechanism", ""),
        ("gap-patches", 2.5),
        ("gap-patches", 0),
        ("burst-patches", 0.0),
        ("burst-patches", float("inf")),
        ("modality-by-site", 1.0),
        ("subsample-to", -1.0),
        ("subsample-to", float("nan")),
    ],
)
def test_impossible_missingness_is_refused(key, value):
    with pytest.raises(ConfigError, match=f"^setting 'missingness.{key}': .*, got {value!r}$"):
        validate_settings(flat_defaults() | {f"missingness.{key}": value})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("point=0.8", "unknown 'point' (did you mean 'points'?)"),
        ("points=1.5", "points: expected a share from 0 to 1, got 1.5"),
        ("points=1", "points: expected a share below 1"),
        ("points=many", "points: expected a share from 0 to 1, got 'many'"),
        ("gap-patches=2.5", "gap-patches: expected a whole number of at least 1, got 2.5"),
        ("points", "must be pairs such as 'first=0.1 second=0.2', each key once"),
        ("points=0.1 points=0.2", "must be pairs"),
        ("points='0.1", "must be pairs"),
    ],
)
def test_impossible_missingness_of_test_windows_is_refused(text, reason):
    with pytest.raises(ConfigError) as refused:
        validate_settings(flat_defaults() | {"test-missingness": text})
    assert str(refused.value).startswith("setting 'test-missingness': ") and reason in str(refused.value)
    assert str(refused.value).endswith(f"got {text!r}")


def test_numbers_are_written_in_one_way():
    config = validate_settings(flat_defaults() | {"missingness.subsample-to": 4, "missingness.points": 0})
    assert json.dumps(config.flat()["missingness.subsample-to"]) == "4.0"
    assert json.dumps(config.flat()["missingness.points"]) == "0.0"
