"""Settings of a run."""

import pytest

from condi_core.config import ConfigError, RunConfig, setting_names
from tests.helpers.run_settings import flat_defaults


def test_defaults_are_valid_and_complete():
    config = RunConfig.from_flat(flat_defaults())
    assert sorted(setting_names()) == sorted(k for k in flat_defaults() if not k.startswith("missingness."))
    assert config.imputer.learning_rate == flat_defaults()["imputer.learning-rate"]
    assert dict(config.missingness)["gap-patches"] == flat_defaults()["missingness.gap-patches"]
    assert config.min_sites == flat_defaults()["min-sites"]


def test_flat_undoes_from_flat():
    changed = flat_defaults() | {"seed": 3, "task.width": 48, "name": "x", "imputer.optimizer": "sgd"}
    assert RunConfig.from_flat(changed).flat() == changed
    assert RunConfig.from_flat(RunConfig.from_flat(changed).flat()) == RunConfig.from_flat(changed)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("imputer.learning_rate", "imputer.learning-rate"),
        ("imputor.rounds", "imputer.rounds"),
        ("task.round", "task.rounds"),
        ("sed", "seed"),
        ("seed.x", "seed"),
        ("missingnes.points", "missingness.points"),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest_valid_one(key, nearest):
    with pytest.raises(ConfigError) as error:
        RunConfig.from_flat(flat_defaults() | {key: 4})
    assert str(error.value) == f"unknown setting '{key}' (did you mean '{nearest}'?)"


@pytest.mark.parametrize("key", ["imputer", "zzzz", "zzzz.qqqq.xxxx"])
def test_any_unknown_key_is_refused(key):
    with pytest.raises(ConfigError, match=f"unknown setting '{key}'"):
        RunConfig.from_flat(flat_defaults() | {key: 4})


def test_all_bad_keys_are_reported_at_once():
    bad = {
        "imputer.rounds": "many",
        "imputer.width": 30,  # which four heads do not divide
        "task.learning-rate": 0.0,
        "task.steps": True,
        "min-sites": 0,
        "seed": 1.5,
        "task.optimizer": "adam",
        "task.batches": 3,
    }
    flat = flat_defaults() | bad
    del flat["method"]
    with pytest.raises(ConfigError) as error:
        RunConfig.from_flat(flat)
    message = str(error.value)
    assert "setting 'imputer.heads': must divide the width, an even number, here 30, got 4" in message
    assert "setting 'method' is missing" in message
    assert "unknown setting 'task.batches' (did you mean 'task.batch'?)" in message
    for key in bad.keys() - {"imputer.width", "task.batches"}:
        assert f"setting '{key}': " in message
        assert f"got {bad[key]!r}" in message
    assert message.count("setting '") == len(bad) + 1


@pytest.mark.parametrize("value", [4.0, "4", True, None, 0, -1])
def test_counts_must_be_positive_integers(value):
    with pytest.raises(ConfigError, match="imputer.rounds"):
        RunConfig.from_flat(flat_defaults() | {"imputer.rounds": value})


def test_an_integer_is_accepted_for_a_real_number():
    assert RunConfig.from_flat(flat_defaults() | {"round-timeout": 60}).round_timeout == 60


def test_settings_cannot_be_changed_later():
    config = RunConfig.from_flat(flat_defaults())
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 5


def test_training_differences_exclude_paths_sites_and_timeouts():
    config = RunConfig.from_flat(flat_defaults())
    assert config.training_differences(config) == []
    untrained = {
        "federation": "elsewhere",
        "output": "other-runs",
        "name": "other",
        "resume": "runs/x",
        "min-sites": 5,
        "sites-timeout": 1.0,
        "round-timeout": 2.0,
    }
    assert config.training_differences(RunConfig.from_flat(flat_defaults() | untrained)) == []
    changed = {"task.rounds": 99, "seed": 9, "missingness.gaps": 0.1, "method": "mask", "imputer.heads": 2}
    other = RunConfig.from_flat(flat_defaults() | untrained | changed)
    assert config.training_differences(other) == sorted(changed)
    assert other.training_differences(config) == sorted(changed)
