"""Refuse a run that cannot start, before Flower is started or asked for anything.

Values are checked without torch, whose import takes seconds; only options of methods, methods of other
packages, and settings of privacy and secure aggregation, which some methods exclude, need it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from condi_core.config import ConfigError, RunConfig
from condi_core.methods import PLUGINS
from condi_core.run_files import CONFIG_FILE
from condi_core.settings_text import suggest_name
from data_partitions.errors import DataError
from data_partitions.layout import list_sites
from server_app.artifacts.mlflow_tracking import require_tracker
from server_app.errors import RunError
from server_app.operations.end_command import require_program
from server_app.operations.run_config import RunRejectedError, SettingValue, default_settings
from server_app.settings import validate_settings

DEMO_SITES = tuple(f"hospital-{number}" for number in range(4))


def require_valid_settings(settings: Mapping[str, SettingValue]) -> RunConfig:
    """Check the settings of a run on any machine; those that are not given have their defaults.

    Raises
    ------
    RunRejectedError
        Settings are unknown or invalid, or do not go together; it has a sentence for each of them.
    """
    try:
        config = validate_settings(default_settings() | dict(settings))
        privacy = config.privacy
        protections = (privacy.noise_multiplier, privacy.patient_epsilon, privacy.smallest_count)
        is_special = config.method_options or PLUGINS.keys() & set(config.methods)
        if config.secure_aggregation or any(protections) or is_special:
            from server_app.compared_methods import select_methods

            select_methods(config)
    except ConfigError as error:
        raise RunRejectedError(f"{error}.") from None
    return config


def require_startable(settings: Mapping[str, SettingValue]) -> None:
    """Check the settings of a run on this machine, with its folders and the number of its sites.

    Raises
    ------
    RunRejectedError
        The run could not start.
    """
    config = require_valid_settings(settings)
    try:
        require_program(config.on_end)
        require_tracker(config.track)
        sites = list_sites(Path(os.path.expanduser(config.federation))) if config.federation else DEMO_SITES
        require_sites(config, sites, "the federation has")
    except (DataError, RunError) as error:
        raise RunRejectedError(f"{error}.") from None
    if config.output and (output := Path(os.path.expanduser(config.output))).exists() and not output.is_dir():
        raise RunRejectedError(f"setting 'output': expected a folder, but {output} is a file.")
    if config.resume and not (Path(os.path.expanduser(config.resume)) / CONFIG_FILE).is_file():
        raise RunRejectedError(
            f"setting 'resume': there is no run to resume in {config.resume}: it has no {CONFIG_FILE}."
        )


def require_sites(config: RunConfig, sites: Collection[str], origin: str) -> None:
    """Raise RunRejectedError when a run asks for sites that are not there, or for more of them.

    Parameters
    ----------
    config : settings of the run
    sites : names of the sites that there are
    origin : what the sites are of, as the start of a sentence that their names end
    """
    for name in config.named_sites:
        if name not in sites:
            raise RunRejectedError(
                f"setting 'sites': {origin} no site '{name}'{suggest_name(name, sites, list_all=True)}."
            )
    num_sites = len(set(config.named_sites)) or len(sites)
    if config.min_sites > num_sites:
        whose = "`sites` names" if config.named_sites else origin
        raise RunRejectedError(
            f"setting 'min-sites': expected at most {num_sites}, the number of sites that {whose}, got "
            f"{config.min_sites}: lower it or add sites."
        )
