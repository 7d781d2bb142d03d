"""The settings of a run, all of them checked before anything is asked of sites."""

from collections.abc import Mapping
from typing import Any

from condi_core.config import ConfigError, MissingnessSettings, RunConfig
from data_partitions.missingness import Missingness, MissingnessError

TABLE = "missingness."


def validate_settings(settings: Mapping[str, Any]) -> RunConfig:
    """Read a run's settings, `{"imputer.rounds": 4, "missingness.points": 0.3, ...}`.

    `RunConfig` does not know what the settings of the missingness mean; here they are checked as well.

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
    given = {name.removeprefix(TABLE): value for name, value in settings.items() if name.startswith(TABLE)}
    try:
        missingness = Missingness.from_settings(given)
    except MissingnessError as error:
        complaints += error.complaints
    overrides = settings.get("test-missingness", "")
    try:
        (missingness or Missingness()).with_overrides(str(overrides))
    except MissingnessError as error:
        complaints.append(f"setting 'test-missingness': {error}, got {overrides!r}")
    if config is None or missingness is None or complaints:
        raise ConfigError(*complaints)
    return config.model_copy(update={"missingness": MissingnessSettings(**missingness)})
