"""Check all settings of a run before anything is requested from sites."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from condi_core.config import ConfigError, MissingnessSettings, RunConfig
from condi_core.methods import METHOD_NAMES, describe_unknown_method
from condi_core.missingness import Missingness, MissingnessError
from condi_core.settings_text import parse_names, parse_values

MISSINGNESS_PREFIX = "missingness."  # of the names of settings


def validate_settings(settings: Mapping[str, Any]) -> RunConfig:
    """Read a run's settings, `{"imputer.rounds": 4, "missingness.points": 0.3, ...}`.

    `RunConfig` accepts any missingness settings and names of methods; they are checked here.

    Raises
    ------
    ConfigError
        A setting is unknown, missing or out of range; all of them are named.
    """
    complaints: list[str] = []
    config, missingness = None, None
    try:
        config = RunConfig.from_flat(dict(settings))
    except ConfigError as error:
        complaints += error.complaints
    complaints += [
        f"setting '{setting}': {describe_unknown_method(name)}"
        for setting in ("method", "compare-with")
        for name in _names_in(settings, setting)
        if name not in METHOD_NAMES
    ]
    missingness_settings = {
        name.removeprefix(MISSINGNESS_PREFIX): value
        for name, value in settings.items()
        if name.startswith(MISSINGNESS_PREFIX)
    }
    try:
        missingness = Missingness.from_settings(missingness_settings)
    except MissingnessError as error:
        complaints += error.complaints
    text = settings.get("test-missingness", "")
    overrides: dict[str, Any] = {}
    with suppress(ValueError):  # `RunConfig` complains about a text that is not pairs
        overrides = parse_values(str(text))
    try:
        Missingness().with_overrides(overrides)
    except MissingnessError as error:
        complaints.append(f"setting 'test-missingness': {error}, got {text!r}")
    if config is None or missingness is None or complaints:
        raise ConfigError(*complaints)
    return config.model_copy(update={"missingness": MissingnessSettings(**missingness)})


def _names_in(settings: Mapping[str, Any], setting: str) -> list[str]:
    """Return the methods that a setting names; none where its value is no text, which `RunConfig` refuses."""
    text = settings.get(setting)
    if not isinstance(text, str):
        return []
    return [text] if setting == "method" else parse_names(text)
